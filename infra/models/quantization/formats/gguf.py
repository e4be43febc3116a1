"""llama.cpp's files, whose types mix formats."""

from __future__ import annotations

from infra.models.quantization.fields import Fields
from infra.models.quantization.formats.shared import Said

NAMES = ("gguf",)


def read(fields: Fields) -> Said:
    """Type, and the bits of one weight as a mean over the file."""
    return Said(format=fields.text("type"), bits_per_weight=fields.number("bits_per_weight"))
