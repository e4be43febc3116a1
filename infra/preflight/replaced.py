"""Which of a deployment's values a run does not have, because it was given the object around them.

Prefect puts a run's parameters in place of the deployment's one by one, and never merges them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from infra.contracts.specs import RunSpec
from infra.contracts.specs.run import SHORT_FORM
from infra.preflight.findings import Finding, note


def replaced(deployed: Mapping[str, Any], spec: RunSpec) -> list[Finding]:
    """Return a note for each parameter that was given without fields that the deployment sets.

    Args:
        deployed: The deployment's parameters.
        spec: What the run was given, as it was given: fields that were left out are not set.
    """
    notes = []
    for name, values in deployed.items():
        if lost := list(_lost(values, _given(spec, name), name)):
            text = (
                f"{name} was given as a whole, so what the deployment says of {', '.join(lost)} "
                "does not count"
            )
            notes.append(note("parameters", text))
    return notes


def _given(spec: RunSpec, name: str) -> object:
    """Return a parameter of the run as it was given, in the short form or as a whole."""
    if name == "quantization":
        return spec.candidates[0].quantization if spec.candidates else None
    return getattr(spec.baseline if name in SHORT_FORM else spec, name, None)


def _lost(deployed: Any, given: Any, path: str) -> Iterator[str]:
    if not isinstance(deployed, Mapping) or not isinstance(given, BaseModel):
        return
    for name, value in deployed.items():
        if name not in type(given).model_fields:
            continue
        if name in given.model_fields_set:
            yield from _lost(value, getattr(given, name), f"{path}.{name}")
        else:
            yield f"{path}.{name}"
