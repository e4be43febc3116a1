"""Safe changes of a setting, with what the engine's log says of the device."""

from __future__ import annotations

import math
from collections.abc import Mapping

from infra.engines.diagnosis.patterns import Value

_SPARE_FRACTION = 0.05
"""Of the device's memory: what others take of it changes from one minute to the next."""


def shorter_window(found: Mapping[str, str], log: str) -> dict[str, Value]:
    """The window that the engine itself says would fit."""
    return {"serving.max_model_len": int(found["fits"])}


def smaller_fraction(found: Mapping[str, str], log: str) -> dict[str, Value] | None:
    """Ask for what is free, less a margin."""
    share = float(found["free"]) / float(found["total"]) - _SPARE_FRACTION
    fraction = math.floor(100 * share) / 100
    return {"serving.memory_fraction": fraction} if fraction > 0 else None


def eager(found: Mapping[str, str], log: str) -> dict[str, Value] | None:
    """Do without recorded graphs and compiled code: they take memory and a compiler."""
    if "'enforce_eager': True" in log:
        return None
    return {"serving.enforce_eager": True}
