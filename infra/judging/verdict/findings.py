"""What a comparison shows about the margin, before it is put into words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from infra.contracts.records import Comparison, MetricComparison, Pooled
from infra.contracts.specs import VerdictSpec
from infra.judging.comparison import decisive, effect

_FLOAT_NOISE = 1e-9
"""Points. 0.65 - 0.62 is a hair above 0.03, but a loss of just what is allowed is allowed."""

_LEAST_ROOM = 1.0
"""Points above guessing. With less there is nothing to lose."""

Status = Literal["PASS", "FAIL", "INCONCLUSIVE"]


@dataclass(frozen=True)
class Findings:
    """What was found; no number in it is rounded."""

    pooled: Pooled | None
    within: bool
    """The loss over all rows is shown to be smaller than the margin."""

    shown: bool
    """A loss over all rows is shown."""

    lost: list[MetricComparison]
    """Tasks that are shown to have lost, and lost more than a task may."""

    beyond: list[MetricComparison]
    """Tasks that lost more than a task may, but may have by chance."""

    silent: list[MetricComparison]
    """Tasks whose rows give no interval."""

    unscaled: list[MetricComparison]
    """Tasks that are shown to have lost, on a scale that has no points."""

    unjudged: list[MetricComparison]
    """Tasks that may have lost, on a scale that has no points: no margin can be held against them.

    They hinder no PASS, which is about the rows in points, but whoever reads one has to know.
    """

    blind: list[MetricComparison]
    """Tasks on which the baseline has too little to lose: it scores hardly more than guessing."""

    broken: list[MetricComparison]
    """Tasks whose rows are not what their metric is declared to be: who knows what they score."""

    tested: bool
    """Whether p-values of single tasks decide anything."""

    @property
    def status(self) -> Status:
        """What it comes to; see `VerdictSpec`."""
        if self.lost or (self.shown and not self.within):
            return "FAIL"
        hindered = self.beyond or self.silent or self.unscaled or self.blind or self.broken
        if self.within and not hindered:
            return "PASS"
        return "INCONCLUSIVE"


def find(comparison: Comparison, spec: VerdictSpec, margin: float, *, sequential: bool) -> Findings:
    """Hold a comparison against the margin; see `infra.judging.verdict.decide`.

    Args:
        comparison: The comparison.
        spec: Which loss is acceptable.
        margin: Over all rows, percentage points.
        sequential: Whether the candidate may have been stopped early: then p-values of single tasks
            decide nothing.
    """
    tasks, pooled = decisive(comparison), comparison.pooled
    beyond = [
        task
        for task in tasks
        if task.unit == "points" and loss_of(task) > spec.task_margin_points + _FLOAT_NOISE
    ]
    lost = [
        task
        for task in beyond
        if not sequential
        and effect(task) == "loss"
        and task.p_adjusted is not None
        and task.p_adjusted <= 1 - spec.confidence
    ]
    return Findings(
        pooled=pooled,
        within=pooled is not None and pooled.bound * 100 > -margin,
        shown=pooled is not None and pooled.high < 0,
        lost=lost,
        beyond=[task for task in beyond if task not in lost],
        silent=[task for task in tasks if task.low is None and not task.breach],
        unscaled=[
            task
            for task in tasks
            if task.unit == "value" and effect(task) == "loss" and not task.breach
        ],
        unjudged=[
            task
            for task in tasks
            if task.unit == "value"
            and task.low is not None
            and effect(task) == "unclear"
            and not task.breach
        ],
        blind=[task for task in tasks if _blind(task, 1 - spec.confidence)],
        broken=[task for task in tasks if task.breach],
        tested=not sequential,
    )


def _blind(task: MetricComparison, alpha: float) -> bool:
    """Tell whether a task could not show a loss, since the baseline has nothing to lose there.

    It has if its score is above guessing by more than a point, and by more than chance explains
    (exact binomial test, one-sided), and if its choices have to do with the questions.
    """
    if task.unit != "points" or not task.baseline.higher_is_better:
        return False
    chance = task.chance or 0.0
    if 100 * (task.baseline.value - chance) <= _LEAST_ROOM + _FLOAT_NOISE:
        return True
    if task.luck is not None and task.luck > alpha:
        return True
    from scipy.stats import binomtest

    right = round(task.baseline.value * task.pairs)
    return bool(binomtest(right, task.pairs, chance, alternative="greater").pvalue > alpha)


def loss_of(task: MetricComparison) -> float:
    """Return the observed loss, percentage points; below zero for a gain."""
    return -100 * task.difference if task.baseline.higher_is_better else 100 * task.difference
