"""What a candidate changes, in words."""

from __future__ import annotations

from infra.contracts.records import Pair


def changed(pair: Pair) -> str:
    """Return what a candidate is beside the baseline: `as 8-bit weights`,
    `with --kv-cache-dtype fp8`.
    """
    change, parts = pair.change, []
    if change.model is not None:
        parts.append(f"as {change.model.id}")
    if change.adapter is not None:
        merged = ", merged into it" if change.adapter.merge else ""
        parts.append(f"with adapter {change.adapter.id}{merged}")
    if change.quantization:
        parts.append(f"as {change.quantization.phrase}")
    if change.serving is not None:
        changes = change.serving.changed
        settings = [" ".join(changes.pop("extra_args", ()))]
        variables = changes.pop("variables", {})
        settings += [f"{name}={value}" for name, value in variables.items()]
        settings += [f"{name} {value}" for name, value in changes.items()]
        parts.append(f"with {', '.join(filter(None, settings))}")
    return " ".join(parts)
