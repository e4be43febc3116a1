"""What a comparison shows about the margin, before it is put into words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from infra.contracts.records import MetricComparison, Pooled, RowComparison
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

    kept: list[MetricComparison]
    """Tasks that have a margin of their own and keep it: without points, they are shown to be
    within it; in points, they lost no more."""

    by_task: bool
    """No task has points, and all are among `kept`: they are judged by their own margins alone."""

    lost: list[MetricComparison]
    """Tasks that are shown to have lost, and lost more than a task may."""

    beyond: list[MetricComparison]
    """Tasks that lost more than a task may, but may have by chance."""

    open: list[MetricComparison]
    """Tasks without points that lost no more than their own margin allows, but may have."""

    silent: list[MetricComparison]
    """Tasks whose rows give no interval."""

    unscaled: list[MetricComparison]
    """Tasks that are shown to have lost, without points and without a margin of their own."""

    unjudged: list[MetricComparison]
    """Tasks that may have lost, without points and without a margin of their own.

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
        if (self.within or self.by_task) and not self.hindered:
            return "PASS"
        return "INCONCLUSIVE"

    @property
    def hindered(self) -> list[MetricComparison]:
        """Tasks any of which keeps the verdict from a PASS, though none makes it a FAIL."""
        return [
            *self.beyond, *self.open, *self.silent, *self.unscaled, *self.blind, *self.broken
        ]  # fmt: skip


def find(
    comparison: RowComparison, spec: VerdictSpec, margin: float, *, sequential: bool
) -> Findings:
    """Hold a comparison against the margin; see `infra.judging.verdict.decide`.

    Args:
        comparison: The comparison.
        spec: Which loss is acceptable.
        margin: Over all rows, percentage points.
        sequential: Whether the candidate may have been stopped early: then p-values of single tasks
            decide nothing.
    """
    tasks, pooled = decisive(comparison), comparison.pooled
    sound = [task for task in tasks if not task.breach]
    beyond = [task for task in sound if _beyond(task, spec)]
    lost = [
        task
        for task in beyond
        if not sequential
        and effect(task) == "loss"
        and task.p_adjusted is not None
        and task.p_adjusted <= 1 - spec.confidence
    ]
    own = [task for task in sound if spec.own_margin(task.task, task.metric) is not None]
    others = [task for task in sound if task.unit == "value" and task not in own]
    kept = [task for task in own if task not in beyond and _kept(task, spec)]
    return Findings(
        pooled=pooled,
        within=pooled is not None and pooled.bound * 100 > -margin,
        shown=pooled is not None and pooled.high < 0,
        kept=kept,
        by_task=pooled is None and bool(tasks) and len(kept) == len(tasks),
        lost=lost,
        beyond=[task for task in beyond if task not in lost],
        open=[
            task
            for task in own
            if task.unit == "value" and task.low is not None and task not in [*kept, *beyond]
        ],
        silent=[task for task in sound if task.low is None],
        unscaled=[task for task in others if effect(task) == "loss"],
        unjudged=[task for task in others if task.low is not None and effect(task) == "unclear"],
        blind=[task for task in tasks if _blind(task, 1 - spec.confidence)],
        broken=[task for task in tasks if task.breach],
        tested=not sequential,
    )


def _beyond(task: MetricComparison, spec: VerdictSpec) -> bool:
    """Tell whether a task lost more than it may, shown or not."""
    margin = margin_of(task, spec)
    return margin is not None and loss_of(task) > margin + _FLOAT_NOISE


def _kept(task: MetricComparison, spec: VerdictSpec) -> bool:
    """Tell whether a task that lost no more than its own margin may be said to keep it.

    In points that is all that a task has to show: the rows of all together show the rest. Without
    points there is nothing else that would show it, so its interval has to: at the bad end of a
    two-sided one, a loss of just the margin passes with half the chance that a verdict may err.
    """
    margin, possible = margin_of(task, spec), possible_loss_of(task)
    if margin is None or possible is None:
        return False
    return task.unit == "points" or possible < margin


def margin_of(task: MetricComparison, spec: VerdictSpec) -> float | None:
    """Return the loss that a task may have in the unit of its metric; see `loss_of`.

    Its own margin; else, in points, the one that all tasks have. None without one.
    """
    own = spec.own_margin(task.task, task.metric)
    if own is None and task.unit == "points":
        return spec.task_margin_points
    return own


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

    right = round(task.baseline.value * task.questions)  # asked again, a question is no news
    return bool(binomtest(right, task.questions, chance, alternative="greater").pvalue > alpha)


def loss_of(task: MetricComparison) -> float:
    """Return the observed loss in the unit of the metric; below zero for a gain.

    Percentage points, or else the unit of its value.
    """
    return _scale(task) * task.difference


def possible_loss_of(task: MetricComparison) -> float | None:
    """Return the loss at the bad end of the interval, as `loss_of`; none without an interval."""
    if task.low is None or task.high is None:
        return None
    return max(_scale(task) * task.low, _scale(task) * task.high)


def _scale(task: MetricComparison) -> int:
    size = 100 if task.unit == "points" else 1
    return -size if task.baseline.higher_is_better else size
