"""AMD's Quark."""

from __future__ import annotations

from infra.contracts.records import QuantizationScheme
from infra.models.quantization.fields import Fields
from infra.models.quantization.formats.shared import Per, Said, joined, number_type

NAMES = ("quark",)
SHOWN_BY = ("global_quant_config",)


def read(fields: Fields) -> Said:
    """AMD's Quark: one scheme for all, others for patterns."""
    schemes = [_scheme(fields.object("global_quant_config"), ())]
    for key in ("layer_quant_config", "layer_type_quant_config"):
        named = fields.objects(key)
        schemes += [_scheme(layer, (name,)) for name, layer in named.items()]
    export = fields.object("export")
    cached = export.texts("kv_cache_group") or fields.raw("kv_cache_quant_config")
    return Said(
        joined(one for one in schemes if one),
        fields.texts("exclude"),
        export.text("pack_method"),
        "quantized" if cached else None,
    )


def _scheme(fields: Fields, targets: tuple[str, ...]) -> QuantizationScheme | None:
    weight, inputs = fields.object("weight"), fields.object("input_tensors")
    if not weight:
        return None
    named: dict[str, Per] = {
        "per_tensor": "tensor", "per_channel": "channel", "per_group": "group",
        "per_block": "block",
    }  # fmt: skip
    bits, number = number_type(weight.text("dtype"))
    input_bits, input_number = number_type(inputs.text("dtype")) if inputs else (None, None)
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
