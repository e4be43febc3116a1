"""AutoRound, which the engine calls `inc`."""

from __future__ import annotations

from infra.contracts.records import QuantizationScheme
from infra.models.quantization.fields import Fields
from infra.models.quantization.formats.shared import Said, integers, joined

NAMES = ("inc", "auto-round", "auto_round", "autoround", "intel/auto-round")
SHOWN_BY = ("autoround_version",)


def read(fields: Fields) -> Said:
    """AutoRound, which the engine calls `inc`; layers with 16 bits and more are left."""
    schemes, ignored = [_scheme(fields)], []
    for name, rule in fields.objects("extra_config").items():
        if (rule.integer("bits") or 0) >= 16:
            ignored.append(name)
        elif rule:
            schemes.append(_scheme(fields.updated(rule), name))
    return Said(joined(schemes), tuple(ignored), fields.text("packing_format"))


def _scheme(fields: Fields, *targets: str) -> QuantizationScheme:
    kind = (fields.text("data_type") or "int").lower()
    number = "int" if kind.startswith("int") else "float"
    block = fields.pair("group_size")
    if block is None:
        scheme = integers(fields, targets=targets, symmetric=fields.flag("sym"))
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
