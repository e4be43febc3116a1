"""Whether a run's checkpoints can be made while its baseline is evaluated."""

from __future__ import annotations

from infra.contracts.specs import BASELINE, ArmSpec, RunSpec
from infra.machine.accelerators import allowed
from infra.machine.device import detect
from infra.quantizers import makers_of
from infra.store.settings import Settings


def side_by_side(spec: RunSpec, settings: Settings) -> bool:
    """Return whether there are accelerators for both.

    The baseline must be evaluated here, and as its model came: else it has to be made first.

    Args:
        spec: The run.
        settings: Which accelerators may be taken.
    """
    made = [arm for name, arm in spec.evaluated.items() if name != BASELINE and makers_of(arm)]
    if not made or BASELINE not in spec.evaluated or makers_of(spec.baseline):
        return False
    serving = detect(spec.baseline.serving.computes_on)
    if all(_makes_on(arm) != serving.kind for arm in made):
        return True
    slots = allowed(serving, settings.accelerators)
    return slots is not None and len(slots) > spec.baseline.serving.tensor_parallel_size


def _makes_on(arm: ArmSpec) -> str:
    """Return the kind of device on which an arm's checkpoint is made."""
    on_accelerator = any(maker.on_accelerator for maker in makers_of(arm))
    return detect(arm.serving.device if on_accelerator else "cpu").kind
