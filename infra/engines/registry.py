"""The engines there are. Nobody else names one."""

from __future__ import annotations

from collections.abc import Iterable

from infra.contracts.specs import ServingSpec
from infra.engines.llamacpp.engine import LlamaCpp
from infra.engines.port import Engine
from infra.engines.vllm.engine import Vllm

_ENGINES: dict[str, Engine] = {engine.name: engine for engine in (Vllm(), LlamaCpp())}


def engines() -> Iterable[Engine]:
    """Return all."""
    return _ENGINES.values()


def engine_of(serving: ServingSpec) -> Engine:
    """Return the engine that settings are for."""
    return _ENGINES[serving.engine]


def title(name: str) -> str:
    """Return what people call the engine that a record names."""
    return _ENGINES[name].title if name in _ENGINES else name
