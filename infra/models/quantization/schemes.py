"""Schemes in the words of each method: what its configuration says about layers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from infra.contracts.records import QuantizationScheme
from infra.models.quantization.fields import Fields

Per = Literal["tensor", "channel", "group", "block"]


@dataclass(frozen=True)
class Said:
    """What a method's configuration says."""

    schemes: tuple[QuantizationScheme, ...] = ()
    ignored: tuple[str, ...] = ()
    format: str | None = None
    kv_cache: str | None = None
    rotated: bool = False


def _per(group: int | None, otherwise: Per | None = "channel") -> tuple[Per | None, int | None]:
    """Return what shares a scale, and how many inputs of a row: -1 says all of them."""
    if group is not None and group > 0:
        return "group", group
    return (None if group is None else otherwise), None


def _integers(fields: Fields, *, targets: tuple[str, ...] = (), **more: Any) -> QuantizationScheme:
    """Return a scheme of whole numbers in groups, as AWQ and GPTQ write it."""
    per, group = _per(fields.integer("group_size", "q_group_size"))
    return QuantizationScheme(
        targets=targets,
        bits=fields.integer("bits", "w_bit", "num_bits"),
        number="int",
        per=per,
        group_size=group,
        **more,
    )


def awq(fields: Fields) -> Said:
    """AutoAWQ."""
    zero_point = fields.flag("zero_point")
    symmetric = None if zero_point is None else not zero_point
    return Said(
        (_integers(fields, symmetric=symmetric),),
        fields.texts("modules_to_not_convert"),
        (fields.text("version") or "").lower() or None,
    )


def gptq(fields: Fields) -> Said:
    """AutoGPTQ and GPTQModel; `dynamic` has rules for layers, `-:` for those that are left."""
    schemes, ignored = [_gptq_scheme(fields)], list(fields.texts("modules_to_not_convert"))
    for pattern, rule in fields.objects("dynamic").items():
        if pattern.startswith("-:"):
            ignored.append(f"re:{pattern.removeprefix('-:')}")
        else:
            target = f"re:{pattern.removeprefix('+:')}"
            schemes.append(_gptq_scheme(fields.updated(rule), target))
    form = fields.text("checkpoint_format", "format")
    if form is None and fields.flag("is_marlin_format"):
        form = "marlin"
    return Said(_joined(schemes), tuple(ignored), form)


def _gptq_scheme(fields: Fields, *targets: str) -> QuantizationScheme:
    scheme = _integers(
        fields, targets=targets, symmetric=fields.flag("sym"), act_order=fields.flag("desc_act")
    )
    # One group for a row leaves nothing to reorder.
    return scheme.model_copy(update={"act_order": scheme.act_order and scheme.per == "group"})


def auto_round(fields: Fields) -> Said:
    """AutoRound, which the engine calls `inc`; layers with 16 bits and more are left."""
    schemes, ignored = [_auto_round_scheme(fields)], []
    for name, rule in fields.objects("extra_config").items():
        if (rule.integer("bits") or 0) >= 16:
            ignored.append(name)
        elif rule:
            schemes.append(_auto_round_scheme(fields.updated(rule), name))
    return Said(_joined(schemes), tuple(ignored), fields.text("packing_format"))


def _auto_round_scheme(fields: Fields, *targets: str) -> QuantizationScheme:
    kind = (fields.text("data_type") or "int").lower()
    number = "int" if kind.startswith("int") else "float"
    block = fields.pair("group_size")
    if block is None:
        scheme = _integers(fields, targets=targets, symmetric=fields.flag("sym"))
    else:
        bits = fields.integer("bits")
        scheme = QuantizationScheme(targets=targets, bits=bits, per="block", block=block)
    acting = fields.integer("act_bits")
    inputs = acting if acting and acting < 16 else None
    return scheme.model_copy(
        update={
            "number": number,
            "symmetric": scheme.symmetric if number == "int" else None,
            "activation_bits": inputs,
            "activation_number": number if inputs else None,
            "activation_dynamic": fields.flag("act_dynamic") if inputs else None,
        }
    )


def fp8(fields: Fields) -> Said:
    """FP8 as AutoFP8, DeepSeek and Transformers write it."""
    block = fields.pair("weight_block_size")
    scheme = QuantizationScheme(
        bits=8,
        number="float",
        per="block" if block else "tensor",
        block=block,
        symmetric=True,
        activation_bits=8,
        activation_number="float",
        activation_dynamic=_dynamic(fields),
    )
    cache = fields.text("kv_cache_scheme") if fields.raw("kv_cache_scheme") else None
    return Said(
        (scheme,),
        fields.texts("ignored_layers") or fields.texts("modules_to_not_convert"),
        fields.text("fmt"),
        f"FP8 ({cache})" if cache else None,
    )


def _dynamic(fields: Fields) -> bool | None:
    scheme = (fields.text("activation_scheme") or "").lower()
    if scheme and scheme not in {"static", "dynamic"}:
        fields.doubt(f"activation_scheme is neither static nor dynamic: {scheme!r}")
        return None
    return scheme == "dynamic" if scheme else None


def fbgemm_fp8(fields: Fields) -> Said:
    """FP8 as FBGEMM has it: a scale for each row, activations' scales found for each token."""
    scheme = QuantizationScheme(
        bits=8, number="float", per="channel", symmetric=True,
        activation_bits=8, activation_number="float", activation_dynamic=True,
    )  # fmt: skip
    return Said((scheme,), fields.texts("modules_to_not_convert"))


def compressed_tensors(fields: Fields) -> Said:
    """llm-compressor and others: `config_groups`, each with its targets."""
    if not fields.raw("config_groups") and fields.raw("quantization_config"):
        fields = fields.object("quantization_config")  # one level deeper, in early versions
    schemes = _groups(fields)
    if not schemes:
        fields.doubt("config_groups describe no layer")
    form, transforms = fields.text("format"), fields.object("transform_config")
    return Said(
        schemes,
        fields.texts("ignore"),
        form,
        _cache(fields.object("kv_cache_scheme")),
        rotated=bool(transforms.object("config_groups")),
    )


def _groups(fields: Fields) -> tuple[QuantizationScheme, ...]:
    found = []
    for group in fields.objects("config_groups").values():
        weights = group.object("weights")
        if weights:
            inputs = group.object("input_activations")
            found.append(_scheme(weights, inputs, group.texts("targets")))
    schemes = _joined(found)
    if len(schemes) == 1:  # it is for all that is quantized, by whatever name
        return (schemes[0].model_copy(update={"targets": ()}),)
    return schemes


def _scheme(weights: Fields, inputs: Fields, targets: tuple[str, ...]) -> QuantizationScheme:
    group, block = weights.integer("group_size"), weights.pair("block_structure")
    strategy = (weights.text("strategy") or "").lower()
    named: dict[str, Per] = {
        "tensor": "tensor", "channel": "channel", "group": "group", "tensor_group": "group",
        "block": "block",
    }  # fmt: skip
    if strategy and strategy not in named:
        weights.doubt(f"strategy is unknown: {strategy!r}")
    order = weights.raw("actorder")
    dynamic = inputs.raw("dynamic")
    return QuantizationScheme(
        targets=targets,
        bits=weights.integer("num_bits"),
        number=(weights.text("type") or "int").lower(),
        per=named.get(strategy)
        or _per(group, "channel")[0]
        or ("tensor" if not strategy else None),
        group_size=group if group and group > 0 else None,
        block=block,
        symmetric=True if (flag := weights.flag("symmetric")) is None else flag,
        # `weight` and `static` reorder while quantizing and store rows as they were.
        act_order=None if order is None else str(order).lower() in {"group", "dynamic", "true"},
        activation_bits=inputs.integer("num_bits") if inputs else None,
        activation_number=(inputs.text("type") or "int").lower() if inputs else None,
        activation_dynamic=bool(dynamic) if inputs and dynamic is not None else None,
    )


def _cache(fields: Fields) -> str | None:
    bits = fields.integer("num_bits")
    if bits is None:
        return None
    return "FP8" if (bits, fields.text("type")) == (8, "float") else f"{bits}-bit"


_MODELOPT: Mapping[str, QuantizationScheme] = {
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
_MODELOPT_ALIASES = {"FP8_BLOCK_SCALES": "FP8_PB_WO", "FP8_PB": "FP8_PB_WO"}


def modelopt(fields: Fields) -> Said:
    """NVIDIA's ModelOpt: the name of an algorithm stands for the whole scheme."""
    inner = fields.object("quantization") if fields.raw("quantization") else fields
    algorithm = (inner.text("quant_algo") or "").upper()
    if layers := inner.objects("quantized_layers"):
        schemes = [_modelopt_scheme(layer, (name,)) for name, layer in layers.items()]
    else:
        schemes = [_modelopt_scheme(inner, ())]
    cache = inner.text("kv_cache_quant_algo")
    return Said(
        _joined(one for one in schemes if one),
        inner.texts("exclude_modules") or inner.texts("ignore"),
        algorithm.lower() or None,
        cache.upper() if cache else _cache(inner.object("kv_cache_scheme")),
    )


def _modelopt_scheme(fields: Fields, targets: tuple[str, ...]) -> QuantizationScheme | None:
    name = (fields.text("quant_algo") or "").upper()
    scheme = _MODELOPT.get(_MODELOPT_ALIASES.get(name, name))
    if scheme is None:
        if name and name != "UNQUANTIZED":
            fields.doubt(f"quant_algo is unknown: {name!r}")
        groups = _groups(fields)
        return groups[0] if groups else None
    update: dict[str, Any] = {"targets": targets}
    if (group := fields.integer("group_size")) and scheme.per == "group":
        update["group_size"] = group
    elif group and scheme.per == "block":
        update["block"] = (group, group)
    return scheme.model_copy(update=update)


def bitsandbytes(fields: Fields) -> Said:
    """bitsandbytes: tables of four bits, or eight bits with outliers left out of each product."""
    four = fields.flag("load_in_4bit", "_load_in_4bit")
    eight = fields.flag("load_in_8bit", "_load_in_8bit")
    if bool(four) == bool(eight):
        fields.doubt("it does not say which of load_in_4bit and load_in_8bit holds")
    kind = (fields.text("bnb_4bit_quant_type") or "fp4").lower()
    table = QuantizationScheme(bits=4, number=kind, symmetric=True)
    whole = QuantizationScheme(
        bits=8, number="int", per="channel", symmetric=True,
        activation_bits=8, activation_number="int", activation_dynamic=True,
    )  # fmt: skip
    schemes = (table,) if four else (whole,) if eight else ()
    form = kind if four else "int8" if eight else None
    return Said(schemes, fields.texts("llm_int8_skip_modules"), form)


def quark(fields: Fields) -> Said:
    """AMD's Quark: one scheme for all, others for patterns."""
    schemes = [_quark_scheme(fields.object("global_quant_config"), ())]
    for key in ("layer_quant_config", "layer_type_quant_config"):
        named = fields.objects(key)
        schemes += [_quark_scheme(layer, (name,)) for name, layer in named.items()]
    export = fields.object("export")
    cached = export.texts("kv_cache_group") or fields.raw("kv_cache_quant_config")
    return Said(
        _joined(one for one in schemes if one),
        fields.texts("exclude"),
        export.text("pack_method"),
        "quantized" if cached else None,
    )


def _quark_scheme(fields: Fields, targets: tuple[str, ...]) -> QuantizationScheme | None:
    weight, inputs = fields.object("weight"), fields.object("input_tensors")
    if not weight:
        return None
    named: dict[str, Per] = {
        "per_tensor": "tensor", "per_channel": "channel", "per_group": "group",
        "per_block": "block",
    }  # fmt: skip
    bits, number = _type(weight.text("dtype"))
    input_bits, input_number = _type(inputs.text("dtype")) if inputs else (None, None)
    return QuantizationScheme(
        targets=targets,
        bits=bits,
        number=number,
        per=named.get(weight.text("qscheme") or ""),
        group_size=weight.integer("group_size") if weight.pair("group_size") is None else None,
        block=weight.pair("block_size") or weight.pair("group_size"),
        symmetric=weight.flag("symmetric"),
        activation_bits=input_bits,
        activation_number=input_number,
        activation_dynamic=inputs.flag("is_dynamic") if inputs else None,
    )


def mxfp4(fields: Fields) -> Said:
    """Four bits of floating point with one exponent for 32 of them."""
    scheme = QuantizationScheme(bits=4, number="float", per="group", group_size=32, symmetric=True)
    return Said((scheme,), fields.texts("modules_to_not_convert", "ignored_layers"))


def mxfp8(fields: Fields) -> Said:
    """Eight bits of floating point with one exponent for 32 of them."""
    return Said((_MODELOPT["MXFP8"],), fields.texts("ignored_layers", "modules_to_not_convert"))


def torchao(fields: Fields) -> Said:
    """PyTorch's torchao: the class of a configuration, its fields in `_data`."""
    kind = fields.object("quant_type")
    chosen = kind.object("default") if "default" in kind else kind
    name, data = chosen.text("_type") or fields.text("quant_type") or "", chosen.object("_data")
    bits, number = _type(name)
    per, group = _per(data.integer("group_size"))
    modules = data.raw("module_fqn_to_config")
    left = [n for n, one in modules.items() if one is None] if isinstance(modules, Mapping) else []
    scheme = QuantizationScheme(bits=bits, number=number, per=per, group_size=group)
    return Said((scheme,), (*fields.texts("modules_to_not_convert"), *left), name or None)


def anything(fields: Fields) -> Said:
    """A method that is unknown: fields that most of them have."""
    inner = fields.object("quant_config").object("weight_quant_params")  # as HQQ has it
    of = inner or fields
    per, group = _per(of.integer("group_size", "q_group_size"))
    kind = fields.text("weights", "weight_dtype", "forward_dtype", "dtype")
    bits, number = _type(kind)
    bits = of.integer("bits", "nbits", "w_bit", "num_bits", "weight_bits") or bits
    scheme = QuantizationScheme(bits=bits, number=number, per=per, group_size=group)
    ignored = fields.texts(
        "modules_to_not_convert", "ignored_layers", "ignore", "exclude", "skip_modules",
        "linear_weights_not_to_quantize",
    )  # fmt: skip
    said = scheme != QuantizationScheme()
    return Said((scheme,) if said else (), ignored, fields.text("format", "version"))


METHODS: Mapping[str, Callable[[Fields], Said]] = {
    "awq": awq, "gptq": gptq, "inc": auto_round, "fp8": fp8, "fbgemm_fp8": fbgemm_fp8,
    "compressed-tensors": compressed_tensors, "modelopt": modelopt, "modelopt_fp4": modelopt,
    "modelopt_mxfp8": modelopt, "modelopt_mixed": modelopt, "bitsandbytes": bitsandbytes,
    "quark": quark, "mxfp4": mxfp4, "gpt_oss_mxfp4": mxfp4, "mxfp8": mxfp8, "torchao": torchao,
}  # fmt: skip
"""The engine's name of a method → what reads its configuration."""


def _type(name: str | None) -> tuple[int | None, str | None]:
    """Return bits and kind of a type by its name: `int4`, `fp8_e4m3`, `Float8WeightOnlyConfig`."""
    found = re.search(r"(?i)(u?int|nf|(?:mx|nv)?fp|float|bf)_?(\d+)", name or "")
    if not found:
        return None, None
    kind = found.group(1).lower()
    number = "int" if "int" in kind else kind if kind == "nf" else "float"
    return int(found.group(2)), f"nf{found.group(2)}" if number == "nf" else number


def _joined(schemes: Iterable[QuantizationScheme]) -> tuple[QuantizationScheme, ...]:
    """Return schemes, each of them once with all its targets: often there is one a layer."""
    found: dict[QuantizationScheme, list[tuple[str, ...]]] = {}
    for scheme in schemes:
        bare = scheme.model_copy(update={"targets": ()})
        found.setdefault(bare, []).append(scheme.targets)
    return tuple(
        # What is for all layers that are not named is so whatever else it is named for.
        bare.model_copy(update={"targets": tuple(chain(*targets)) if all(targets) else ()})
        for bare, targets in found.items()
    )
