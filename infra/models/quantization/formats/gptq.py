"""AutoGPTQ, GPTQModel, and all who write as they do."""

from __future__ import annotations

from infra.contracts.records import QuantizationScheme
from infra.models.quantization.fields import Fields
from infra.models.quantization.formats.shared import Said, integers, joined

NAMES = ("gptq", "auto_gptq", "gptq_marlin", "marlin")
SHOWN_BY = ("desc_act", "damp_percent")


def read(fields: Fields) -> Said:
    """AutoGPTQ and GPTQModel; `dynamic` has rules for layers, `-:` for those that are left."""
    schemes, ignored = [_scheme(fields)], list(fields.texts("modules_to_not_convert"))
    for pattern, rule in fields.objects("dynamic").items():
        if pattern.startswith("-:"):
            ignored.append(f"re:{pattern.removeprefix('-:')}")
        else:
            target = f"re:{pattern.removeprefix('+:')}"
            schemes.append(_scheme(fields.updated(rule), target))
    form = fields.text("checkpoint_format", "format")
    if form is None and fields.flag("is_marlin_format"):
        form = "marlin"
    return Said(joined(schemes), tuple(ignored), form)


def _scheme(fields: Fields, *targets: str) -> QuantizationScheme:
    scheme = integers(
        fields, targets=targets, symmetric=fields.flag("sym"), act_order=fields.flag("desc_act")
    )
    # One group for a row leaves nothing to reorder.
    return scheme.model_copy(update={"act_order": scheme.act_order and scheme.per == "group"})
