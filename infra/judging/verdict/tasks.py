"""What is said of a single task in a verdict: its loss beside what it may lose."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal

from infra.contracts import wording
from infra.contracts.records import MetricComparison
from infra.contracts.specs import VerdictSpec
from infra.judging.statistics import rows_for_drop, rows_for_room
from infra.judging.verdict.findings import loss_of, margin_of, possible_loss_of

_PLACES = 3
"""Of numbers without points, as `wording` has them."""


@dataclass(frozen=True)
class TaskWords:
    """A task in words; amounts of metrics without points are in the metric's own unit."""

    spec: VerdictSpec

    def more(self, task: MetricComparison, rows: int) -> str:
        """Return so many rows, or questions, instead of those that there are."""
        what = "rows" if task.repeats == 1 else "questions"
        more = f"about {max(rows, task.questions + 1):,} {what} of {task.task}"
        return f"{more} instead of {task.questions:,}"

    def rows_for_loss(self, task: MetricComparison) -> int:
        """Return how many rows it takes to show the loss that a task had."""
        alpha, loss = 1 - self.spec.confidence, loss_of(task)
        if task.unit == "points" and task.repeats == 1:
            flips = max(task.lost + task.gained, 1) / task.pairs
            return rows_for_drop(loss / 100, flips, self.spec.power, alpha)
        reach = ((task.high or 0.0) - (task.low or 0.0)) / 2
        reach *= 100 if task.unit == "points" else 1
        return rows_for_room(task.questions, reach, loss, self.spec.power, task.confidence)

    def rows_for_own(self, task: MetricComparison) -> int:
        """Return how many rows it takes to show that a task without points keeps its margin."""
        margin, possible = margin_of(task, self.spec), possible_loss_of(task)
        loss, power = loss_of(task), self.spec.power
        if margin is None or possible is None or margin <= loss:
            return self.rows_for_loss(task)
        room = margin - loss
        return rows_for_room(task.questions, possible - loss, room, power, task.confidence)

    def of_rows(self, task: MetricComparison) -> str:
        """Return what a task was asked."""
        return wording.counted(task.questions, task.repeats, alike=True)

    def has_own(self, task: MetricComparison) -> bool:
        """Return whether a task has a margin of its own."""
        return self.spec.own_margin(task.task, task.metric) is not None

    def own(self, task: MetricComparison) -> str:
        """Return what a task may lose, with its unit."""
        margin = margin_of(task, self.spec) or 0.0
        return wording.own_margin(margin, task.unit, task.baseline.unit)

    def allowed(self, task: MetricComparison) -> str:
        """Return what a task may lose, and why."""
        if self.has_own(task):
            return f"its margin of {self.own(task)}"
        return f"the {wording.points(self.spec.task_margin_points)} that a task may lose"

    def _amount(self, task: MetricComparison, loss: float, rounding: str) -> str:
        margin = margin_of(task, self.spec) or 0.0
        if task.unit == "points":
            return f"{beside(loss, margin, rounding)} points"
        return beside(loss, margin, rounding, _PLACES)

    def possible(self, task: MetricComparison) -> str:
        """Return the loss at the bad end of the interval."""
        return self._amount(task, max(0.0, possible_loss_of(task) or 0.0), ROUND_CEILING)

    def keeps(self, task: MetricComparison) -> str:
        """Return which margin a task keeps."""
        return f"its margin of {self.own(task)} {on(task)}"

    def own_limit(self, task: MetricComparison, side: str) -> str:
        """Return the possible loss of a task without points beside its margin, in a sentence."""
        ends = wording.interval(task.low or 0.0, task.high or 0.0, task.unit)
        return (
            f"{task.task}: the largest loss of {metric_name(task)} that is not excluded is "
            f"{self.possible(task)} (difference {wording.difference(task.difference, 'value')}"
            f", {wording.confidence(task.confidence)} interval {ends}), {side} its margin of "
            f"{self.own(task)}."
        )

    def cost(self, task: MetricComparison) -> str:
        """Return the loss of a task with its interval."""
        ends = wording.interval(task.low or 0.0, task.high or 0.0, task.unit)
        own = f"; margin {self.own(task)}" if self.has_own(task) else ""
        return (
            f"{self._amount(task, loss_of(task), ROUND_HALF_EVEN)} {on(task)} "
            f"({wording.confidence(task.confidence)} interval {ends}{own})"
        )

    def loss(self, task: MetricComparison, *, bare: bool = False) -> str:
        """Return the loss of a task with its own margin, or bare of it."""
        metric = "" if task.unit == "points" else f" in {metric_name(task)}"
        own = f" (margin {self.own(task)})" if self.has_own(task) and not bare else ""
        amount = self._amount(task, loss_of(task), ROUND_HALF_EVEN)
        return f"{task.task} lost {amount}{metric}{own}"


def on(task: MetricComparison) -> str:
    """Return `on gsm8k`, or `in word_perplexity of wikitext` where the metric is the unit."""
    return f"on {task.task}" if task.unit == "points" else f"in {metric_name(task)} of {task.task}"


def metric_name(task: MetricComparison) -> str:
    """Return the metric without its filter."""
    return task.metric.partition(",")[0]


def beside(value: float, limit: float, rounding: str, least: int = 1) -> str:
    """Return a number with as many places as it takes to stay on its side of a limit."""
    exact = Decimal(repr(value))
    for places in range(least, 17):
        text = exact.quantize(Decimal(1).scaleb(-places), rounding)
        if (text > Decimal(repr(limit))) == (value > limit) and (
            (text < Decimal(repr(limit))) == (value < limit)
        ):
            break
    return f"{text:f}"
