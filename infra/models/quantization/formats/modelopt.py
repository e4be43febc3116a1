"""NVIDIA's ModelOpt: the name of an algorithm stands for the whole scheme."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.contracts.records import QuantizationScheme
from infra.models.quantization.fields import Fields
from infra.models.quantization.formats import compressed_tensors
from infra.models.quantization.formats.shared import Said, cache_of, joined

NAMES = ("modelopt", "modelopt_fp4", "modelopt_mxfp8", "modelopt_mixed")
SHOWN_BY = ("quant_algo", "quantization")

_OF_ALGORITHM = {
    "NVFP4": "modelopt_fp4", "W4A16_NVFP4": "modelopt_fp4", "MXFP8": "modelopt_mxfp8",
    "MIXED_PRECISION": "modelopt_mixed",
}  # fmt: skip

SCHEMES: Mapping[str, QuantizationScheme] = {
    "FP8": QuantizationScheme(
        bits=8, number="float", per="tensor", symmetric=True,
        activation_bits=8, activation_number="float", activation_dynamic=False,
    ),
    "FP8_PER_CHANNEL_PER_TOKEN": QuantizationScheme(
        bits=8, number="float", per="channel", symmetric=True,
        activation_bits=8, activation_number="float", activation_dynamic=True,
    ),
    "FP8_PB_WO": QuantizationScheme(
        bits=8, number="float", per="block", block=(128, 128), symmetric=True
    ),
    "NVFP4": QuantizationScheme(
        bits=4, number="float", per="group", group_size=16, symmetric=True,
        activation_bits=4, activation_number="float", activation_dynamic=True,
    ),
    "W4A16_NVFP4": QuantizationScheme(
        bits=4, number="float", per="group", group_size=16, symmetric=True
    ),
    "MXFP8": QuantizationScheme(
        bits=8, number="float", per="group", group_size=32, symmetric=True,
        activation_bits=8, activation_number="float", activation_dynamic=True,
    ),
    "W4A16_AWQ": QuantizationScheme(
        bits=4, number="int", per="group", group_size=128, symmetric=True
    ),
    "W4A8_AWQ": QuantizationScheme(
        bits=4, number="int", per="group", group_size=128, symmetric=True,
        activation_bits=8, activation_number="float", activation_dynamic=False,
    ),
    "INT8_SQ": QuantizationScheme(
        bits=8, number="int", per="channel", symmetric=True,
        activation_bits=8, activation_number="int", activation_dynamic=False,
    ),
}  # fmt: skip
_ALIASES = {"FP8_BLOCK_SCALES": "FP8_PB_WO", "FP8_PB": "FP8_PB_WO"}


def own_name(fields: Fields) -> str | None:
    """Return what the engine calls it by the algorithm, where that is another name."""
    inner = fields.object("quantization") if fields.raw("quantization") else fields
    return _OF_ALGORITHM.get((inner.text("quant_algo") or "").upper())


def read(fields: Fields) -> Said:
    """NVIDIA's ModelOpt: the name of an algorithm stands for the whole scheme."""
    inner = fields.object("quantization") if fields.raw("quantization") else fields
    algorithm = (inner.text("quant_algo") or "").upper()
    if layers := inner.objects("quantized_layers"):
        schemes = [_scheme(layer, (name,)) for name, layer in layers.items()]
    else:
        schemes = [_scheme(inner, ())]
    cache = inner.text("kv_cache_quant_algo")
    return Said(
        joined(one for one in schemes if one),
        inner.texts("exclude_modules") or inner.texts("ignore"),
        algorithm.lower() or None,
        cache.upper() if cache else cache_of(inner.object("kv_cache_scheme")),
    )


def _scheme(fields: Fields, targets: tuple[str, ...]) -> QuantizationScheme | None:
    name = (fields.text("quant_algo") or "").upper()
    scheme = SCHEMES.get(_ALIASES.get(name, name))
    if scheme is None:
        if name and name != "UNQUANTIZED":
            fields.doubt(f"quant_algo is unknown: {name!r}")
        groups = compressed_tensors.groups(fields)
        return groups[0] if groups else None
    update: dict[str, Any] = {"targets": targets}
    if (group := fields.integer("group_size")) and scheme.per == "group":
        update["group_size"] = group
    elif group and scheme.per == "block":
        update["block"] = (group, group)
    return scheme.model_copy(update=update)
