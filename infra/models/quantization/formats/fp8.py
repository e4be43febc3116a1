"""FP8 as AutoFP8, DeepSeek and Transformers write it, and as FBGEMM does."""

from __future__ import annotations

from infra.contracts.records import QuantizationScheme
from infra.models.quantization.fields import Fields
from infra.models.quantization.formats.shared import Said

NAMES = ("fp8",)
NAMES_OF_FBGEMM = ("fbgemm_fp8",)
SHOWN_BY = ("weight_block_size", "activation_scheme")


def read(fields: Fields) -> Said:
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


def read_fbgemm(fields: Fields) -> Said:
    """FP8 as FBGEMM has it: a scale for each row, activations' scales found for each token."""
    scheme = QuantizationScheme(
        bits=8, number="float", per="channel", symmetric=True,
        activation_bits=8, activation_number="float", activation_dynamic=True,
    )  # fmt: skip
    return Said((scheme,), fields.texts("modules_to_not_convert"))
