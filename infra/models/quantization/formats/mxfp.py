"""Floating point with one exponent for 32 numbers."""

from __future__ import annotations

from infra.contracts.records import QuantizationScheme
from infra.models.quantization.fields import Fields
from infra.models.quantization.formats import modelopt
from infra.models.quantization.formats.shared import Said

NAMES_OF_4 = ("mxfp4", "gpt_oss_mxfp4")
NAMES_OF_8 = ("mxfp8",)


def read_4(fields: Fields) -> Said:
    """Four bits of floating point with one exponent for 32 of them."""
    scheme = QuantizationScheme(bits=4, number="float", per="group", group_size=32, symmetric=True)
    return Said((scheme,), fields.texts("modules_to_not_convert", "ignored_layers"))


def read_8(fields: Fields) -> Said:
    """Eight bits of floating point with one exponent for 32 of them."""
    return Said(
        (modelopt.SCHEMES["MXFP8"],), fields.texts("ignored_layers", "modules_to_not_convert")
    )
