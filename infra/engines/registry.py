"""The engines there are. Nobody else names one."""

from __future__ import annotations

from collections.abc import Iterable

from infra.contracts.specs import ServingSpec
from infra.engines.port import Engine
from infra.engines.vllm.engine import Vllm

_ENGINES: tuple[Engine, ...] = (Vllm(),)


def engines() -> Iterable[Engine]:
    """Return all."""
    return _ENGINES


def engine_of(serving: ServingSpec) -> Engine:
    """Return the engine that settings are for."""
    return _ENGINES[0]  # there are no settings yet but those of this one


def title(name: str) -> str:
    """Return what people call the engine that a record names."""
    return next((engine.title for engine in _ENGINES if engine.name == name), name)
