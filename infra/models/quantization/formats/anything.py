"""A method that is unknown: fields that most of them have."""

from __future__ import annotations

from infra.contracts.records import QuantizationScheme
from infra.models.quantization.fields import Fields
from infra.models.quantization.formats.shared import Said, number_type, shared_by


def read(fields: Fields) -> Said:
    """A method that is unknown: fields that most of them have."""
    inner = fields.object("quant_config").object("weight_quant_params")  # as HQQ has it
    of = inner or fields
    per, group = shared_by(of.integer("group_size", "q_group_size"))
    kind = fields.text("weights", "weight_dtype", "forward_dtype", "dtype")
    bits, number = number_type(kind)
    bits = of.integer("bits", "nbits", "w_bit", "num_bits", "weight_bits") or bits
    scheme = QuantizationScheme(bits=bits, number=number, per=per, group_size=group)
    ignored = fields.texts(
        "modules_to_not_convert", "ignored_layers", "ignore", "exclude", "skip_modules",
        "linear_weights_not_to_quantize",
    )  # fmt: skip
    said = scheme != QuantizationScheme()
    return Said((scheme,) if said else (), ignored, fields.text("format", "version"))
