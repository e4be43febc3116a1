"""How two engines share one accelerator, or the processor of a machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infra.contracts.errors import NotEnough
from infra.contracts.specs import ServingSpec
from infra.engines.registry import engine_of
from infra.machine.device import Device

_GIB = 2**30
_BESIDE_WEIGHTS = 2 * _GIB
"""What an engine takes on an accelerator besides the weights at the least: cache, graphs, and the
largest step."""

_OF_A_PROCESS = _GIB
"""What an engine's processes take of main memory besides the weights."""


@dataclass(frozen=True)
class Wanted:
    """One arm of the two."""

    name: str
    serving: ServingSpec
    size_bytes: int
    """Of its weights."""


def apart(wanted: Sequence[Wanted]) -> list[ServingSpec]:
    """Return the settings of engines that do not share anything; both cannot have the same port."""
    return [one.serving.model_copy(update={"port": None}) for one in wanted]


def of_accelerator(wanted: Sequence[Wanted], device: Device) -> list[ServingSpec]:
    """Return the settings with which both fit the same accelerators.

    Each gets the room that its weights take, and the same part of what is left.

    Args:
        wanted: Both arms.
        device: The accelerators.

    Raises:
        NotEnough: They do not fit.
    """
    weights = [one.size_bytes / one.serving.tensor_parallel_size for one in wanted]
    share = min(engine_of(one.serving).memory_share(one.serving) for one in wanted)
    left = share * device.memory_bytes - sum(weights)
    if left < len(wanted) * _BESIDE_WEIGHTS:
        sizes = " and ".join(
            f"{one.name} {size / _GIB:.1f} GiB" for one, size in zip(wanted, weights, strict=True)
        )
        raise NotEnough(
            f"Both models do not fit the memory of one {device.name} "
            f"({device.memory_bytes / _GIB:.0f} GiB).",
            cause=f"The weights take {sizes}; each engine needs {_BESIDE_WEIGHTS / _GIB:.0f} GiB "
            "more.",
            remedy="Wait until a second accelerator is free, or allow more of them by "
            "ASSAY_ACCELERATORS.",
        )
    return [
        serving.model_copy(
            update={"memory_fraction": round((size + left / len(wanted)) / device.memory_bytes, 3)}
        )
        for serving, size in zip(apart(wanted), weights, strict=True)
    ]


def of_processor(wanted: Sequence[Wanted], free_bytes: int) -> list[ServingSpec]:
    """Return the settings of engines that compute on the same processor.

    Args:
        wanted: Both arms.
        free_bytes: Main memory that nobody uses now.

    Raises:
        NotEnough: They do not fit.
    """
    needed = sum(one.size_bytes + _OF_A_PROCESS for one in wanted)
    if needed > free_bytes:
        raise NotEnough(
            f"Both models need {needed / _GIB:.1f} GiB of main memory, of which "
            f"{free_bytes / _GIB:.1f} GiB are free.",
            remedy="End what else uses the memory, or try them on a machine with more.",
        )
    return apart(wanted)
