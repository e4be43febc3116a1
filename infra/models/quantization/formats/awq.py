"""AutoAWQ, and all who write as it does."""

from __future__ import annotations

from infra.models.quantization.fields import Fields
from infra.models.quantization.formats.shared import Said, integers

NAMES = ("awq", "auto_awq", "awq_marlin")
SHOWN_BY = ("w_bit", "zero_point")


def read(fields: Fields) -> Said:
    """AutoAWQ."""
    zero_point = fields.flag("zero_point")
    symmetric = None if zero_point is None else not zero_point
    return Said(
        (integers(fields, symmetric=symmetric),),
        fields.texts("modules_to_not_convert"),
        (fields.text("version") or "").lower() or None,
    )
