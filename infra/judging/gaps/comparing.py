"""Gaps between choices in both arms, task by task and over all rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from infra.contracts.records import (
    ArmResult,
    ChoiceGaps,
    CloseRow,
    GapChange,
    Gaps,
    GapSpread,
    PredictedFlips,
    TaskGaps,
    TaskScores,
)
from infra.contracts.records.gaps import STEPS
from infra.judging import statistics
from infra.judging.choices import UNITS
from infra.judging.gaps.predicting import Chance, chances, slope
from infra.judging.gaps.reading import ChoiceRow, ahead, choice_rows
from infra.judging.pairing import RunRows

CLOSEST = 20
"""Rows kept of every task."""


@dataclass(frozen=True, slots=True)
class _Read:
    """The rows of a task, or of all."""

    rows: Sequence[ChoiceRow]
    left_out: int
    chances: Sequence[Chance | None]
    unit: str


def compare(
    baseline: ArmResult, candidate: ArmResult, run: RunRows, confidence: float
) -> ChoiceGaps | None:
    """Return how close choices are in both arms; none if no task takes the best of its choices.

    Args:
        baseline: The arm as it came.
        candidate: The arm that is held against it.
        run: The rows of both.
        confidence: Of every interval and range.

    Raises:
        ComparisonError: The arms were not evaluated alike; names the task and the field.
    """
    read: dict[str, _Read] = {}
    metrics: dict[str, str] = {}
    for name, scores in baseline.tasks.items():
        metric = _metric(scores)
        pairs = run.paired(scores, candidate.tasks[name]) if metric else []
        rows, left_out = choice_rows(pairs, metric)
        if rows:
            metrics[name] = metric
            unit = UNITS[metric.partition(",")[0]]
            read[name] = _Read(rows, left_out, chances(rows), unit)
    if not read:
        return None
    units = {one.unit for one in read.values()}
    together = _Read(
        rows=[row for one in read.values() for row in one.rows],
        left_out=sum(one.left_out for one in read.values()),
        chances=[chance for one in read.values() for chance in one.chances],
        unit=units.pop() if len(units) == 1 else "",
    )
    # Nearly all of the time is numpy's, which computes side by side.
    with ThreadPoolExecutor() as pool:
        wanted = [*read.values(), *([together] if len(read) > 1 else [])]
        found = [*pool.map(partial(_gaps, confidence=confidence), wanted)]
    tasks = {
        name: TaskGaps(
            **dict(of), metric=metrics[name], slope=slope(one.rows), closest=_closest(one)
        )
        for (name, one), of in zip(read.items(), found, strict=False)
    }
    return ChoiceGaps(confidence=confidence, tasks=tasks, whole=found[-1])


def _metric(scores: TaskScores) -> str:
    """Return the metric whose choices are compared: the primary one, if it takes the best of them.

    Else the first that does: a loss of the right choice's probability is judged beside `acc`. Empty
    without one.
    """
    names = [scores.primary_metric, *scores.metrics]
    return next((name for name in names if name.partition(",")[0] in UNITS), "")


def _gaps(of: _Read, confidence: float) -> Gaps:
    clear = all(row.right for row in of.rows)
    return Gaps.model_validate(
        {
            "rows": len(of.rows),
            "left_out": of.left_out,
            "unit": of.unit,
            "best": _change(of, confidence, _best) if of.unit else None,
            "right": _change(of, confidence, _right) if of.unit and clear else None,
            "changed": _predicted(of, confidence, lambda one: one.changed, _is_changed),
            "flips": _predicted(of, confidence, lambda one: one.flip, _is_flip) if clear else None,
        }
    )


def _is_changed(row: ChoiceRow) -> bool:
    return row.outcome != "kept"


def _is_flip(row: ChoiceRow) -> bool:
    return row.was_right != row.is_right


def _best(row: ChoiceRow) -> tuple[float, float]:
    return row.gap, row.candidate_gap


def _right(row: ChoiceRow) -> tuple[float, float]:
    right = row.right or frozenset()
    return ahead(row.baseline, right), ahead(row.candidate, right)


def _change(
    of: _Read, confidence: float, gaps: Callable[[ChoiceRow], tuple[float, float]]
) -> GapChange:
    one, other = zip(*map(gaps, of.rows), strict=True)
    found = statistics.amounts_limits(
        [after - before for before, after in zip(one, other, strict=True)],
        confidence,
        [row.row.subject for row in of.rows],
        [row.row.question for row in of.rows],
    )
    (low, high), method = found or ((None, None), "none: too few rows differ to resample them")
    spreads = _spread(one), _spread(other)
    return GapChange(
        baseline=spreads[0],
        candidate=spreads[1],
        difference=spreads[1].mean - spreads[0].mean,
        low=low,
        high=high,
        method=method,
    )


def _spread(gaps: Sequence[float]) -> GapSpread:
    import numpy as np

    shares = [step / STEPS for step in range(STEPS + 1)]
    return GapSpread(
        mean=math.fsum(gaps) / len(gaps),
        quantiles=tuple(map(float, np.quantile(gaps, shares, method="inverted_cdf"))),
    )


def _predicted(
    of: _Read,
    confidence: float,
    chance_of: Callable[[Chance], float | None],
    happened: Callable[[ChoiceRow], bool],
) -> PredictedFlips | None:
    """Return how many rows flip by noise alone, with its range, and how many did.

    Each row flips or not, with its own chance. The noise of a row that helps to predict others
    decides of itself as well, so that prediction and count go together a little, and the range is
    rather too wide than too narrow: given the baseline, their difference has the variance
    sum(p (1 - p)) less n times that of g(e), the share of rows that noise e flips.
    """
    pairs = [
        (chance, happened(row))
        for row, one in zip(of.rows, of.chances, strict=True)
        if one is not None and (chance := chance_of(one)) is not None
    ]
    if not pairs:
        return None
    found = [chance for chance, _ in pairs]
    low, high = statistics.poisson_binomial_limits(found, confidence)
    return PredictedFlips(
        rows=len(pairs),
        predicted=math.fsum(found),
        low=low,
        high=high,
        seen=sum(flipped for _, flipped in pairs),
    )


def _closest(of: _Read) -> tuple[CloseRow, ...]:
    close = [
        CloseRow(
            task=row.row.task,
            doc_id=row.row.doc_id,
            baseline=row.gap,
            candidate=row.kept_gap,
            chance=_to_flip(chance) if chance else None,
            outcome=row.outcome,
        )
        for row, chance in zip(of.rows, of.chances, strict=True)
    ]
    close.sort(key=lambda row: (-(row.chance or 0), row.baseline, row.task, row.doc_id))
    return tuple(close[:CLOSEST])


def _to_flip(chance: Chance) -> float:
    return chance.changed if chance.flip is None else chance.flip
