"""A verdict in words. No rounding moves a number to the other side of its margin."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal

from infra.contracts import wording
from infra.contracts.records import MetricComparison, Pooled
from infra.contracts.specs import VerdictSpec
from infra.contracts.wording import points
from infra.judging.sequential import room
from infra.judging.statistics import rows_for_drop, rows_for_margin
from infra.judging.verdict.findings import Findings, loss_of

_TOO_LITTLE = "the baseline is hardly better than guessing"


@dataclass(frozen=True)
class Words:
    """The findings in words."""

    found: Findings
    spec: VerdictSpec
    what: str
    margin: float
    widened_from: float | None

    def headline(self) -> str:
        """Return one sentence."""
        found = self.found
        if found.pooled is None:
            text = f"the rows of {self._names(found.silent)} give no interval"
            if found.broken and not found.silent:
                text = _broken(found.broken[0])
            elif not found.silent:
                text = "no task is scored in points, so nothing can be held against the margin"
            return f"{found.status}: {text}{self._widened()}."
        if found.lost:
            tasks = wording.listed([self._task_cost(task) for task in found.lost])
            text = (
                f"{self.what} costs {tasks}, and a task may lose "
                f"{points(self.spec.task_margin_points)}; over all {found.pooled.rows:,} rows it "
                f"{_change(found.pooled)}"
            )
        else:
            text = (
                f"{self.what} {_change(found.pooled)} over {found.pooled.rows:,} rows; "
                f"{self._finding(found.pooled)}"
            )
        return f"{found.status}: {text}{self._widened()}."

    def _finding(self, pooled: Pooled) -> str:
        found, margin = self.found, points(self.margin)
        possible = f"{self._possible(pooled)} points"
        if found.status == "PASS":
            unjudged = "".join(f"; {self._not_judged(task)}" for task in found.unjudged)
            return f"a loss of {margin} or more is excluded{unjudged}"
        if found.status == "FAIL":
            if pooled.high * 100 < -self.margin:
                return f"that is beyond the margin of {margin}"
            return f"a loss is shown, and up to {possible} are not excluded (margin {margin})"
        if not found.within:
            return f"a loss of up to {possible} is not excluded (margin {margin})"
        return f"but {self._obstacle()}"

    def _obstacle(self) -> str:
        found = self.found
        if found.beyond:
            tasks = wording.listed([self._task_loss(task) for task in found.beyond])
            return f"{tasks}, and a task may lose {points(self.spec.task_margin_points)}"
        if found.silent:
            return f"the rows of {self._names(found.silent)} give no interval"
        if found.broken:
            return _broken(found.broken[0])
        if found.blind:
            return f"{self._names(found.blind)} could show no loss: {_TOO_LITTLE}"
        return f"{self._names(found.unscaled)} got worse, on a scale without points"

    def _widened(self) -> str:
        if self.widened_from is None:
            return ""
        return f"; the margin was widened from {points(self.widened_from)}"

    def reasons(self) -> list[str]:
        """Return why it is so, the most important first."""
        found, spec = self.found, self.spec
        said = []
        for task in found.lost:
            said.append(
                f"{self._task_loss(task)} of {task.pairs:,} rows (p = {task.p_adjusted:.2g} after "
                f"Holm), more than the {points(spec.task_margin_points)} that a task may lose."
            )
        if found.pooled:
            limit = f"one-sided {wording.confidence(spec.confidence)} limit"
            side = "below" if found.within else "not below"
            said.append(
                f"Over all rows, the largest loss that is not excluded is "
                f"{self._possible(found.pooled)} points ({limit}), {side} the margin of "
                f"{points(self.margin)}."
            )
            if found.shown:
                said.append("A loss is shown: the interval over all rows lies below zero.")
        else:
            said.append("No task gives an effect in points.")
        said += [f"{self._not_judged(task)}." for task in found.unjudged]
        for task in found.beyond:
            said.append(
                f"{self._task_loss(task)} of {task.pairs:,} rows, more than the "
                f"{points(spec.task_margin_points)} that a task may lose; {self._doubt(task)}."
            )
        said += [f"{task.task}: no interval ({task.method})." for task in found.silent]
        for task in found.blind:
            guessing = "" if task.chance is None else f", and guessing {task.chance:.1%}"
            if task.luck is not None and task.luck > 1 - spec.confidence:
                guessing += (
                    f"; the same answers, dealt out by lot, may score as much (p = {task.luck:.2g})"
                )
            said.append(
                f"{task.task} could show no loss: the baseline scores {task.baseline.value:.1%}"
                f"{guessing}.".replace("%", " %")
            )
        said += [f"{_broken(task)}." for task in found.broken]
        for task in found.unscaled:
            said.append(f"{task.task} got worse, and its {_name(task)} has no margin in points.")
        if self.widened_from is not None:
            said.append(
                f"A margin of {points(self.widened_from)} was asked for, which these rows cannot "
                f"resolve; it was widened to {points(self.margin)}."
            )
        return said

    def needed(self) -> str:
        """Return what would make it conclusive."""
        found, said = self.found, []
        if found.pooled and not found.within:
            said.append(self._rows_needed(found.pooled))
        for task in found.beyond:
            if not self._tested(task):
                whole = " with verdict.early_stop=False" if self.spec.early_stop else ""
                said.append(f"a look at {task.task} alone{whole}")
                continue
            flips = max(task.lost + task.gained, 1) / task.pairs
            loss = loss_of(task) / 100
            rows = rows_for_drop(loss, flips, self.spec.power, 1 - self.spec.confidence)
            more = f"about {max(rows, task.pairs + 1):,} rows of {task.task} instead of "
            said.append(f"{more}{task.pairs:,}, to tell its loss from chance")
        if found.silent:
            said.append(
                f"for {self._names(found.silent)}, a first metric that is the mean of its rows, "
                "on more rows; or the run without"
            )
        if found.broken:
            said.append(
                f"for {self._names(found.broken)}, a metric that keeps to what is declared of it, "
                "or another unit under metadata.units of its definition; or the run without"
            )
        if found.blind:
            said.append(
                f"instead of {self._names(found.blind)}, a task that the baseline can do, or the "
                "same with a chat template, other shots or room for longer answers"
            )
        if found.unscaled:
            said.append(f"a look at {self._names(found.unscaled)} by somebody who knows its scale")
        if not found.pooled and not (found.silent or found.broken):
            said.append("a task whose rows are right or wrong")
        text = "; ".join(said)
        return f"{text[:1].upper()}{text[1:]}."

    def _tested(self, task: MetricComparison) -> bool:
        return self.found.tested and task.p_adjusted is not None

    def _doubt(self, task: MetricComparison) -> str:
        if self._tested(task):
            return "it may be chance"
        if not self.found.tested:
            return "single tasks are not tested where a candidate may be stopped early"
        return "rows that are not right or wrong have no test of their own"

    def _rows_needed(self, pooled: Pooled) -> str:
        # Rates of nothing cannot be planned with: at least one row may flip.
        flips = max(pooled.flip_rate, 1 / pooled.rows)
        wider = room(self.spec)
        left = self.margin / 100 + pooled.difference
        if left > 1e-9:  # 0.01 - 0.01 may be a hair above zero
            rows = rows_for_margin(left / wider, flips, self.spec.power, self.spec.confidence)
            aim = "to show that the loss is within the margin"
        else:
            loss = -pooled.difference
            rows = rows_for_drop(loss / wider, flips, self.spec.power, 1 - self.spec.confidence)
            aim = "to show the loss"
        return (
            f"about {max(rows, pooled.rows + 1):,} rows instead of {pooled.rows:,} {aim}, if the "
            f"difference and the share of rows that flip ({flips:.1%}) stay as they are: raise "
            "`limit` or add tasks"
        ).replace("%)", " %)")

    def _possible(self, pooled: Pooled) -> str:
        return _beside(max(0.0, -pooled.bound * 100), self.margin, ROUND_CEILING)

    def _task_cost(self, task: MetricComparison) -> str:
        loss = _beside(loss_of(task), self.spec.task_margin_points, ROUND_HALF_EVEN)
        ends = wording.interval(task.low or 0.0, task.high or 0.0, "points")
        return (
            f"{loss} points on {task.task} ({wording.confidence(task.confidence)} interval {ends})"
        )

    def _task_loss(self, task: MetricComparison) -> str:
        loss = _beside(loss_of(task), self.spec.task_margin_points, ROUND_HALF_EVEN)
        return f"{task.task} lost {loss} points"

    @staticmethod
    def _not_judged(task: MetricComparison) -> str:
        ends = wording.interval(task.low or 0.0, task.high or 0.0, "value")
        return (
            f"{task.task} has no points and is not judged: difference "
            f"{wording.difference(task.difference, 'value')}, "
            f"{wording.confidence(task.confidence)} interval {ends}"
            f"{'' if task.baseline.higher_is_better else ', lower is better'}"
        )

    @staticmethod
    def _names(tasks: list[MetricComparison]) -> str:
        return wording.listed([task.task for task in tasks])


def _broken(task: MetricComparison) -> str:
    return f"{task.task} is not counted: {task.breach}"


def _name(task: MetricComparison) -> str:
    return task.metric.partition(",")[0]


def _change(pooled: Pooled) -> str:
    ends = wording.interval(pooled.low, pooled.high, "points")
    interval = f"({wording.confidence(pooled.confidence)} interval {ends})"
    if pooled.difference == 0:
        return f"makes no difference {interval}"
    amount = wording.difference(abs(pooled.difference), "points", signed=False)
    return f"{'costs' if pooled.difference < 0 else 'gains'} {amount} points {interval}"


def _beside(value: float, limit: float, rounding: str) -> str:
    """Return a number with as many places as it takes to stay on its side of a limit."""
    exact = Decimal(repr(value))
    for places in range(1, 17):
        text = exact.quantize(Decimal(1).scaleb(-places), rounding)
        if (text > Decimal(repr(limit))) == (value > limit) and (
            (text < Decimal(repr(limit))) == (value < limit)
        ):
            break
    return f"{text:f}"
