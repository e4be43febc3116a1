"""How well functions are called, part by part, and whether many of them are too many.

Nothing here is judged: the verdict is about rows in which all is right, over all numbers of
functions together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from infra.contracts.records import ArmResult
from infra.contracts.records.functions import CallPart, FunctionCalls, OfferedFunctions
from infra.judging import statistics
from infra.judging.asked import by_question
from infra.judging.pairing import RowPair, RunRows
from infra.scoring.ways import ASKS, TOOLS


def compare(
    baseline: ArmResult, candidate: ArmResult, rows: RunRows, confidence: float
) -> dict[str, FunctionCalls]:
    """Return both arms beside each other, for each task with functions.

    Args:
        baseline: The arm as it came.
        candidate: The arm that is held against it.
        rows: Of both arms.
        confidence: Of every interval.

    Raises:
        ComparisonError: The rows cannot be read, or not be paired.
    """
    found = {}
    for name, task in baseline.tasks.items():
        first = next(iter(rows.of(task)), None)
        if first is None or first.doc.get(ASKS) != TOOLS:
            continue
        pairs = rows.paired(task, candidate.tasks[name])
        found[name] = calls_of(pairs, task.primary_metric, confidence)
    return found


def calls_of(pairs: Sequence[RowPair], primary: str, confidence: float) -> FunctionCalls:
    """Return both arms beside each other over the rows of one task with functions.

    Args:
        pairs: The rows.
        primary: The metric by which all of a row is right.
        confidence: Of every interval.
    """
    return FunctionCalls(
        confidence=confidence,
        parts=_parts(pairs, primary),
        offered=_offered(pairs, primary, confidence),
    )


def _parts(pairs: Sequence[RowPair], primary: str) -> tuple[CallPart, ...]:
    names = {name: None for pair in pairs for name in pair.baseline.metrics if name != primary}
    return tuple(
        CallPart(
            metric=name.partition(",")[0],
            rows=len(scored),
            baseline=fmean(one for one, _ in scored),
            candidate=fmean(other for _, other in scored),
        )
        for name in (primary, *names)
        if (scored := _scored(pairs, name))
    )


def _offered(
    pairs: Sequence[RowPair], primary: str, confidence: float
) -> tuple[OfferedFunctions, ...]:
    groups: dict[int, list[RowPair]] = defaultdict(list)
    for pair in pairs:
        groups[int(pair.baseline.doc["offered"])].append(pair)
    found = []
    for offered, group in sorted(groups.items()):
        if scored := _scored(group, primary):
            one, other = zip(*scored, strict=True)
            effect = _effect(group, scored, primary, confidence)
            low, high = effect.limits if effect else (None, None)
            found.append(
                OfferedFunctions(
                    offered=offered,
                    rows=len(scored),
                    baseline=fmean(one),
                    candidate=fmean(other),
                    low=low,
                    high=high,
                )
            )
    return tuple(found)


def _effect(
    group: Sequence[RowPair],
    scored: Sequence[tuple[float, float]],
    primary: str,
    confidence: float,
) -> statistics.Effect | None:
    asked = by_question(group)
    if asked is None or len(scored) < len(group):
        one, other = zip(*scored, strict=True)
        return statistics.effect_of(one, other, confidence)
    each = [_scored(pairs, primary) for pairs in asked]
    left, right = ([[both[arm] for both in scores] for scores in each] for arm in (0, 1))
    return statistics.repeated_effect(left, right, confidence)


def _scored(pairs: Sequence[RowPair], metric: str) -> list[tuple[float, float]]:
    """Return what the rows score that have this metric in both arms."""
    return [
        (one, other)
        for pair in pairs
        if (one := pair.baseline.score(metric)) is not None
        and (other := pair.candidate.score(metric)) is not None
    ]
