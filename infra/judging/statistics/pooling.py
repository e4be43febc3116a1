"""One effect over several tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from infra.judging.statistics.effects import Effect, Limits

MOVER = "row-weighted over tasks; limits recovered from theirs (MOVER, Zou & Donner 2008)"

Overlap = Mapping[tuple[int, int], float]
"""Two tasks by their numbers, the smaller first → correlation of their effects."""


def pooled_limits(
    effects: Sequence[Effect], of: Callable[[Effect], Limits], overlap: Overlap | None = None
) -> Limits:
    """Return limits for the difference over all rows of all tasks, each row counting once.

    G. Y. Zou & A. Donner (2008), "Construction of confidence limits about effect measures: a
    general approach", Statistics in Medicine 27, 1693-1702. With weights w and the tasks' own
    limits l, u around their differences d, tasks being independent,

        low  = sum(w d) - sqrt(sum(w^2 (d - l)^2))
        high = sum(w d) + sqrt(sum(w^2 (u - d)^2))

    It keeps what is good in the tasks' own limits: no symmetry, no width zero, no normal rows.
    Tasks that ask the same questions are not independent: twice the product of their terms is
    added under the root, times their correlation.

    Args:
        effects: One a task; at least one.
        of: Which of their limits.
        overlap: Correlations; without it tasks are independent.
    """
    weights = row_weights(effects)
    middle = pooled_difference(effects)
    pairs = list(zip(weights, effects, strict=True))
    below = [weight * (effect.difference - of(effect)[0]) for weight, effect in pairs]
    above = [weight * (of(effect)[1] - effect.difference) for weight, effect in pairs]
    return (
        max(-1.0, middle - _combined(below, overlap or {})),
        min(1.0, middle + _combined(above, overlap or {})),
    )


def pooled_difference(effects: Sequence[Effect]) -> float:
    """Return the difference over all rows of all tasks, each row counting once."""
    weights = row_weights(effects)
    return math.fsum(w * effect.difference for w, effect in zip(weights, effects, strict=True))


def row_weights(effects: Sequence[Effect]) -> list[float]:
    """Return each task's share of all rows."""
    total = sum(effect.rows for effect in effects)
    return [effect.rows / total for effect in effects]


def _combined(terms: Sequence[float], overlap: Overlap) -> float:
    squares = math.fsum(term * term for term in terms)
    shared = math.fsum(2 * rho * terms[i] * terms[j] for (i, j), rho in overlap.items())
    return math.sqrt(squares + shared)
