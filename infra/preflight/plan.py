"""What the run could show: a margin that its rows cannot resolve is refused, or widened."""

from __future__ import annotations

from collections.abc import Iterable

from infra.contracts.errors import MarginUnresolvable
from infra.contracts.progress import Progress
from infra.contracts.records import Power, TaskPower
from infra.contracts.specs import EndpointRunSpec, RunSpec, VerdictSpec
from infra.contracts.wording import counted, listed, points
from infra.judging.planning import planned
from infra.judging.power import ASSUMED, margin, resolvable_margin, resolves
from infra.judging.sequential import room
from infra.judging.statistics import rows_for_margin
from infra.preflight.findings import Finding, note, ok, problem
from infra.store.settings import Settings

_POWER, _TASKS, _REPEATS = "power", "power by task", "repeats"
_NAMED = 12
"""Tasks that the table names; those that can show least stand first."""


def look_at(
    spec: RunSpec | EndpointRunSpec, settings: Settings, progress: Progress
) -> list[Finding]:
    """Return what the rows can show, task by task and together.

    The tasks have to be loaded.
    """
    power = planned(spec, settings, progress)
    if power is None:
        own = "verdict.margins alone decide" if spec.verdict.margins else "a margin decides nothing"
        return [note(_POWER, f"no task has rows that are right or wrong; {own}")]
    found = [_pooled(spec.judged_verdict, power)]
    if len(power.tasks) > 1:
        found.append(ok(_TASKS, _by_task(power)))
    found += [ok(_REPEATS, said) for name, task in power.tasks.items()
              if (said := _bought(name, task))]  # fmt: skip
    return found


def later(verdict: VerdictSpec, waiting: Iterable[str]) -> Finding:
    """Return what can be said before rows are downloaded."""
    rate = verdict.flip_rate or ASSUMED
    margin_share = verdict.margin_points / 100 / room(verdict)
    needed = rows_for_margin(margin_share, rate, verdict.power, verdict.confidence)
    return note(
        _POWER,
        f"planned when the rows of {listed(list(waiting))} are downloaded, before anything else "
        f"is spent; if {_percent(rate)} of the rows flip, a margin of "
        f"{points(verdict.margin_points)} takes {needed:,} rows",
    )


def _pooled(verdict: VerdictSpec, power: Power) -> Finding:
    wanted = points(verdict.margin_points)
    if resolves(verdict, power):
        return ok(_POWER, f"{_shows(verdict, power)}; the margin is {wanted}")
    if verdict.if_unresolvable == "refuse":
        return problem(_POWER, _unresolvable(verdict, power))
    wider, _ = margin(verdict, power)
    return note(
        _POWER,
        f"{_shows(verdict, power)}; the margin is widened from {wanted} to {points(wider)}, since "
        f"it would take {power.rows_for_margin:,} {_unit(power)}",
    )


def _unresolvable(verdict: VerdictSpec, power: Power) -> MarginUnresolvable:
    smallest = resolvable_margin(power)
    guard = smallest > verdict.task_margin_points
    return MarginUnresolvable(
        f"A margin of {points(verdict.margin_points)} cannot be resolved by {_counted(power)}; "
        f"the smallest they resolve is {points(smallest)}.",
        cause=f"{_expected(verdict, power)}: even a model without any loss would be shown to be "
        f"within the margin less often than the {_percent(verdict.power)} that verdict.power asks.",
        remedy="Add tasks or raise their limit: it takes "
        f"{power.rows_for_margin:,} {_unit(power)}, "
        f"{power.rows_for_margin - power.rows:,} more. Or set verdict.margin_points to "
        f"{smallest:g}{' and verdict.task_margin_points to no less' if guard else ''}, or "
        "verdict.if_unresolvable to 'widen', which does that by itself and says so.",
    )


def _shows(verdict: VerdictSpec, power: Power) -> str:
    early = ", with limits wide enough to stop early" if verdict.early_stop else ""
    return (
        f"{_counted(power)}. {_expected(verdict, power)}: with {_percent(verdict.power)} chance"
        f"{early} a drop of {power.smallest_drop_points:.1f} points is found, and a model without "
        f"loss is shown to be within {points(resolvable_margin(power))}"
    )


def _expected(verdict: VerdictSpec, power: Power) -> str:
    if verdict.flip_rate:
        source = "as verdict.flip_rate says"
    elif power.learned_from:
        count = len(power.learned_from)
        source = f"learned from {count} earlier run{'s' if count > 1 else ''}"
    else:
        source = "assumed"
    return (
        f"{_percent(power.flip_rate)} of them are expected to be right in one arm alone ({source})"
    )


def _bought(name: str, task: TaskPower) -> str:
    """Return what a task's repeats show; empty without any."""
    if task.effective is None:
        return ""
    asked = task.rows * (task.repeats or 1)
    return (
        f"{name}: {task.rows:,} questions, asked {task.repeats} times each, show as much as "
        f"{task.effective:,.0f} asked once, if differences between arms are alike within a "
        f"question (correlation {task.correlation:g}, assumed); {asked:,} different questions "
        f"would take as long and show as much as {asked:,}"
    )


def _counted(power: Power) -> str:
    most = max((task.repeats or 1 for task in power.tasks.values()), default=1)
    return counted(power.rows, most, alike=len(power.tasks) == 1)


def _unit(power: Power) -> str:
    return "questions" if any(task.effective for task in power.tasks.values()) else "rows"


def _by_task(power: Power) -> str:
    worst = sorted(power.tasks.items(), key=lambda item: -item[1].smallest_drop_points)
    said = [
        f"{name} {task.smallest_drop_points:.1f} "
        f"({counted(task.rows, task.repeats or 1, alike=True)})"
        for name, task in worst[:_NAMED]
    ]
    if more := worst[_NAMED:]:
        said.append(f"and less in {len(more)} more")
    return f"smallest drop that is found, points: {', '.join(said)}"


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"
