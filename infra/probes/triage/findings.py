"""What was measured, as checks: the same words whatever the format."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from infra.contracts.records import Check
from infra.probes.triage.likeness import (
    LEAST_SIGNS,
    MAGNITUDE,
    MOST_ROUNDING,
    RELATED,
    Likeness,
)

FINITE, SHAPES, COMPLETE = "tensors finite", "shapes", "layers complete"
SCALES, SHARE, SIZE = "scales", "layers quantized", "size on disk"
WEIGHTS = "weights those of the baseline"

MOST_UNLIKE = 0.5
"""Share of layers up to which those that are unlike the baseline's are broken, and from which on
the whole checkpoint was made from another model."""

_NAMED = 3


def check(name: str, wrong: list[str], sound: str, wanted: str) -> Check:
    """Return a check that fails if anything is wrong, and names the first of it."""
    more = [f"and {len(wrong) - _NAMED} more"] if len(wrong) > _NAMED else []
    value = "; ".join([*wrong[:_NAMED], *more]) or sound
    return Check(name=name, value=value, wanted=wanted, ok=not wrong)


def likeness_check(
    likeness: dict[str, Likeness], unread: str | None, excuse: str | None, *, ready_made: bool
) -> Check:
    """Judge how far weights are those of the baseline; what says nothing is said, and no fault.

    Args:
        likeness: Of each layer that could be compared.
        unread: Why none could, where that is known.
        excuse: Why it is no fault that they differ.
        ready_made: Nothing proves that it was made from the baseline: only a few layers that are
            unlike are a fault.
    """
    wanted = (
        f"{LEAST_SIGNS:.0%} of signs in each layer, size within a factor of {MAGNITUDE:g}, error "
        f"at most {MOST_ROUNDING:g} times what rounding makes"
    )
    unlike = {name: one for name, one in likeness.items() if not one.same}
    another = ready_made and len(unlike) > MOST_UNLIKE * len(likeness)
    if not likeness:
        why = unread or excuse or "no name is the same"
        return Check(name=WEIGHTS, value=f"not compared: {why}",
                     wanted=wanted, ok=True)  # fmt: skip
    if unlike and (excuse or another):
        related = median(one.signs for one in unlike.values()) >= RELATED
        why = excuse or (
            "so it was fine-tuned for long, or is packed in another way than it says"
            if related
            else "so it was made from another model, or its weights were transformed"
        )
        text = f"{len(unlike)} of {len(likeness)} layers are unlike the baseline's: {why}"
        return Check(name=WEIGHTS, value=f"says nothing: {text}", wanted=wanted, ok=True)
    return check(
        WEIGHTS,
        [f"{name} ({_measures([one])})" for name, one in unlike.items()],
        _measures(list(likeness.values())),
        wanted,
    )


def _measures(likeness: Sequence[Likeness]) -> str:
    sizes = [one.magnitude for one in likeness]
    signs = min(one.signs for one in likeness)
    rounded = [one.error / one.rounding for one in likeness if one.rounding]
    errors = [one.error for one in likeness]
    if len(likeness) == 1:
        one = likeness[0]
        return f"{one.signs:.0%} of signs, {one.magnitude:.2g} of the size, error {one.error:.2g}"
    text = f"at least {signs:.1%} of signs, {min(sizes):.2f} to {max(sizes):.2f} of the size"
    if not rounded:
        return f"{text}, error at most {max(errors):.2g}"
    text += f", error at most {max(rounded):.1f} times what rounding makes"
    if median(rounded) > MOST_ROUNDING:
        text += ": weights were changed before they were rounded, by fine-tuning for instance"
    return text
