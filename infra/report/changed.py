"""What a candidate changes, in words."""

from __future__ import annotations

from infra.contracts.records import Pair
from infra.contracts.specs import QuantizationSpec
from infra.judging.comparison import recipe_name


def changed(pair: Pair) -> str:
    """Return what a candidate is beside the baseline: `as 4-bit AWQ in groups of 128`,
    `with --kv-cache-dtype fp8`.
    """
    change, parts = pair.change, []
    if change.model is not None:
        parts.append(f"as {change.model.id}")
    if change.quantization:
        parts.append(made(change.quantization))
    if change.serving is not None:
        changes = change.serving.changed
        settings = [" ".join(changes.pop("extra_args", ()))]
        variables = changes.pop("variables", {})
        settings += [f"{name}={value}" for name, value in variables.items()]
        settings += [f"{name} {value}" for name, value in changes.items()]
        parts.append(f"with {', '.join(filter(None, settings))}")
    return " ".join(parts)


def made(recipe: QuantizationSpec) -> str:
    """Return what a checkpoint is: `as 4-bit AWQ in groups of 128`."""
    return f"as {recipe_name(recipe)} in groups of {recipe.group_size}"
