"""A verdict in words. No rounding moves a number to the other side of its margin."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING

from infra.contracts import wording
from infra.contracts.records import MetricComparison, Pooled
from infra.contracts.specs import VerdictSpec
from infra.judging.sequential import room
from infra.judging.statistics import rows_for_drop, rows_for_margin, rows_for_room
from infra.judging.verdict.findings import Findings
from infra.judging.verdict.tasks import TaskWords, beside, metric_name, on

_HAIR = 1e-9
"""0.01 - 0.01 may be so much above zero."""

_TOO_LITTLE = "the baseline is hardly better than guessing"


@dataclass(frozen=True)
class Words:
    """The findings in words."""

    found: Findings
    spec: VerdictSpec
    what: str
    margin: float
    widened_from: float | None

    @property
    def _of(self) -> TaskWords:
        return TaskWords(self.spec)

    def headline(self) -> str:
        """Return one sentence."""
        found = self.found
        if found.lost:
            text = self._beyond([self._of.cost(task) for task in found.lost], found.lost)
            text = f"{self.what} costs {text}"
            if found.pooled:
                text += f"; over all {_asked(found.pooled)} it {_change(found.pooled)}"
        elif found.pooled is None:
            text = self._without_points()
        else:
            text = (
                f"{self.what} {_change(found.pooled)} over {_asked(found.pooled)}; "
                f"{self._finding(found.pooled)}"
            )
        return f"{found.status}: {text}{self._widened()}."

    def _without_points(self) -> str:
        found = self.found
        if found.status == "PASS":
            return f"{self.what} keeps {wording.listed([self._of.keeps(t) for t in found.kept])}"
        if found.silent:
            return f"the rows of {self._names(found.silent)} give no interval"
        if found.broken:
            return _broken(found.broken[0])
        if found.beyond or found.open:
            return self._obstacle()
        if found.kept:
            return "some tasks have neither points nor a margin of their own"
        return "no task is scored in points, so nothing can be held against the margin"

    def _finding(self, pooled: Pooled) -> str:
        found, margin = self.found, wording.points(self.margin)
        possible = f"{self._possible(pooled)} points"
        if found.status == "PASS":
            kept = [self._of.keeps(task) for task in found.kept if task.unit == "value"]
            own = f"; it keeps {wording.listed(kept)}" if kept else ""
            unjudged = "".join(f"; {self._not_judged(task)}" for task in found.unjudged)
            return f"a loss of {margin} or more is excluded{own}{unjudged}"
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
            return self._beyond([self._of.loss(task) for task in found.beyond], found.beyond)
        if found.open:
            tasks = [
                f"{self._of.possible(t)} {on(t)} (margin {self._of.own(t)})" for t in found.open
            ]
            return f"a loss of up to {wording.listed(tasks)} is not excluded"
        if found.silent:
            return f"the rows of {self._names(found.silent)} give no interval"
        if found.broken:
            return _broken(found.broken[0])
        if found.blind:
            return f"{self._names(found.blind)} could show no loss: {_TOO_LITTLE}"
        return f"{self._names(found.unscaled)} got worse, on a scale without points"

    def _beyond(self, said: list[str], tasks: list[MetricComparison]) -> str:
        """Return what tasks lost, with what each may lose where that is no margin of its own."""
        alike = [task for task in tasks if not self._of.has_own(task)]
        allowed = wording.points(self.spec.task_margin_points)
        return wording.listed(said) + (f", and a task may lose {allowed}" if alike else "")

    def _widened(self) -> str:
        if self.widened_from is None:
            return ""
        return f"; the margin was widened from {wording.points(self.widened_from)}"

    def reasons(self) -> list[str]:
        """Return why it is so, the most important first."""
        found, spec = self.found, self.spec
        said = []
        for task in found.lost:
            said.append(
                f"{self._of.loss(task, bare=True)} of {self._of.of_rows(task)} (p = "
                f"{task.p_adjusted:.2g} after Holm), more than {self._of.allowed(task)}."
            )
        if found.pooled:
            limit = f"one-sided {wording.confidence(spec.confidence)} limit"
            side = "below" if found.within else "not below"
            said.append(
                f"Over all rows, the largest loss that is not excluded is "
                f"{self._possible(found.pooled)} points ({limit}), {side} the margin of "
                f"{wording.points(self.margin)}."
            )
            if found.shown:
                said.append("A loss is shown: the interval over all rows lies below zero.")
        else:
            said.append("No task gives an effect in points.")
        for task in found.kept:
            if task.unit == "value":
                said.append(self._of.own_limit(task, "below"))
            else:
                amount = wording.difference(task.difference, "points")
                said.append(f"{task.task} changed by {amount} points, and its margin is "
                            f"{self._of.own(task)}.")  # fmt: skip
        said += [self._of.own_limit(task, "not below") for task in found.open]
        said += [f"{self._not_judged(task)}." for task in found.unjudged]
        for task in found.beyond:
            said.append(
                f"{self._of.loss(task, bare=True)} of {self._of.of_rows(task)}, more than "
                f"{self._of.allowed(task)}; {self._doubt(task)}."
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
            said.append(
                f"{task.task} got worse, and its {metric_name(task)} has no margin in points."
            )
        if self.widened_from is not None:
            said.append(
                f"A margin of {wording.points(self.widened_from)} was asked for, which these rows "
                f"cannot resolve; it was widened to {wording.points(self.margin)}."
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
            more = self._of.more(task, self._of.rows_for_loss(task))
            said.append(f"{more}, to tell its loss from chance")
        for task in found.open:
            more = self._of.more(task, self._of.rows_for_own(task))
            said.append(
                f"{more} to show that its margin is kept, if the difference and its spread stay "
                "as they are"
            )
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
        hindered = found.silent or found.broken or found.beyond or found.open
        if not found.pooled and not hindered:
            each = ", or a margin for each task among verdict.margins" if found.kept else ""
            said.append(f"a task whose rows are right or wrong{each}")
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
        if pooled.repeats > 1:
            return self._questions_needed(pooled)
        # Rates of nothing cannot be planned with: at least one row may flip.
        flips = max(pooled.flip_rate, 1 / pooled.rows)
        wider = room(self.spec)
        left = self.margin / 100 + pooled.difference
        if left > _HAIR:
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

    def _questions_needed(self, pooled: Pooled) -> str:
        """Return how many questions it takes, by the width that these have."""
        left = self.margin / 100 + pooled.difference
        within = left > _HAIR
        reach = pooled.difference - (pooled.bound if within else pooled.low)
        # Limits are one-sided where a margin is kept, two-sided where a loss is shown.
        sides = 2 * self.spec.confidence - 1 if within else self.spec.confidence
        room = left if within else -pooled.difference
        rows = rows_for_room(pooled.rows, reach, room, self.spec.power, sides)
        aim = "to show that the loss is within the margin" if within else "to show the loss"
        return (
            f"about {max(rows, pooled.rows + 1):,} questions instead of {pooled.rows:,} {aim}, if "
            "the difference and its spread stay as they are: raise `limit` or add tasks; more "
            "repeats of these show less"
        )

    def _possible(self, pooled: Pooled) -> str:
        return beside(max(0.0, -pooled.bound * 100), self.margin, ROUND_CEILING)

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


def _asked(pooled: Pooled) -> str:
    return wording.counted(pooled.rows, pooled.repeats, alike=len(pooled.tasks) == 1)


def _change(pooled: Pooled) -> str:
    ends = wording.interval(pooled.low, pooled.high, "points")
    interval = f"({wording.confidence(pooled.confidence)} interval {ends})"
    if pooled.difference == 0:
        return f"makes no difference {interval}"
    amount = wording.difference(abs(pooled.difference), "points", signed=False)
    return f"{'costs' if pooled.difference < 0 else 'gains'} {amount} points {interval}"
