"""What a right answer costs an arm in energy, where its accelerators' driver tells (NVML)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from infra.contracts.records import ArmResult, Pair, TaskScores
from infra.suite.metrics import in_points, is_corpus

NOTE = (
    "Joules are what the GPUs' own counters tell (NVML): whole boards, what they take idle "
    "included, without processor, main memory and power supply."
)


def per_right(scores: TaskScores) -> float | None:
    """Return the joules of asking all rows of a task over the marks of all rows.

    None where nobody can tell, where an earlier run has answered, where rows are not marked from 0
    to 1, more being better, or no answer is right.
    """
    return _ratio([scores])


def per_right_of_all(arm: ArmResult) -> float | None:
    """Return the same of all tasks of an arm whose rows are marked from 0 to 1, together."""
    return _ratio([scores for scores in arm.tasks.values() if _rights(scores) is not None])


def of_tasks(pair: Pair) -> bool:
    """Tell whether that is known of a task in an arm."""
    arms = (pair.baseline, pair.candidate)
    return any(per_right(scores) is not None for arm in arms for scores in arm.tasks.values())


def of_points(pair: Pair) -> bool:
    """Tell whether the energy of a measuring point is known in an arm."""
    benches = (pair.baseline.bench, pair.candidate.bench)
    return any(point.joules is not None for one in benches if one for point in one.points)


def _ratio(tasks: Iterable[TaskScores]) -> float | None:
    joules, rights = 0.0, 0.0
    for scores in tasks:
        right = _rights(scores)
        if scores.joules is None or scores.reused or right is None:
            return None
        joules += scores.joules
        rights += right
    return joules / rights if rights else None


def _rights(scores: TaskScores) -> float | None:
    """Return the sum of the marks of all rows; none where they are not marked from 0 to 1."""
    total = 0.0
    for leaf in _leaves(scores):  # a group may weigh its parts otherwise than by rows
        metric = leaf.primary_metric
        value = leaf.metrics.get(metric)
        if value is None or is_corpus(value) or not in_points(metric, leaf.name, value):
            return None
        if not value.higher_is_better:  # its marks are of what is wrong
            return None
        total += value.value * value.n
    return total


def _leaves(scores: TaskScores) -> Iterator[TaskScores]:
    if not scores.subtasks:
        yield scores
    for part in scores.subtasks.values():
        yield from _leaves(part)
