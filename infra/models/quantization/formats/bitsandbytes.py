"""bitsandbytes: tables of four bits, or eight bits with outliers apart."""

from __future__ import annotations

from infra.contracts.records import QuantizationScheme
from infra.models.quantization.fields import Fields
from infra.models.quantization.formats.shared import Said

NAMES = ("bitsandbytes", "bnb")
SHOWN_BY = ("load_in_4bit", "load_in_8bit")


def read(fields: Fields) -> Said:
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
