"""PyTorch's torchao."""

from __future__ import annotations

from collections.abc import Mapping

from infra.contracts.records import QuantizationScheme
from infra.models.quantization.fields import Fields
from infra.models.quantization.formats.shared import Said, number_type, shared_by

NAMES = ("torchao",)


def read(fields: Fields) -> Said:
    """PyTorch's torchao: the class of a configuration, its fields in `_data`."""
    kind = fields.object("quant_type")
    chosen = kind.object("default") if "default" in kind else kind
    name, data = chosen.text("_type") or fields.text("quant_type") or "", chosen.object("_data")
    bits, number = number_type(name)
    per, group = shared_by(data.integer("group_size"))
    modules = data.raw("module_fqn_to_config")
    left = [n for n, one in modules.items() if one is None] if isinstance(modules, Mapping) else []
    scheme = QuantizationScheme(bits=bits, number=number, per=per, group_size=group)
    return Said((scheme,), (*fields.texts("modules_to_not_convert"), *left), name or None)
