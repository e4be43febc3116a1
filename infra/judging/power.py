"""What a run can show, planned before anything is spent.

Only rows that one arm alone has right tell the arms apart. Their expected share, the flip rate, and
the number of rows decide which loss is found, and which margin can be kept at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from infra.contracts.records import Power, TaskPower
from infra.contracts.specs import VerdictSpec
from infra.judging.earlier_runs import Earlier
from infra.judging.sequential import room
from infra.judging.statistics import (
    Asked,
    questions_for_margin,
    rows_for_margin,
    smallest_drop,
    smallest_drop_of,
    smallest_margin,
    smallest_margin_of,
)

ASSUMED = 0.1
"""Flip rate where nothing is known. A guess: smaller models flip more, and larger ones less."""

ASSUMED_DRAWN = 0.25
"""The same of answers that are drawn by chance: two draws of one model differ more often than its
likeliest answers."""

ALIKE = 0.5
"""Correlation of the differences between arms within a question, where nothing is known. Zero if a
change moves all questions a little, one if it turns some over whole; a guess in between. An AWQ
checkpoint of the sample had 0.7."""

_BELIEF = 100
"""Rows that the assumption weighs against rows that were counted: no flip in a run of 40 rows does
not mean that none will be."""

_TENTH = 10
_FLOAT_NOISE = 1e-9
"""Points. Just as many rows as a margin takes are enough for it."""


def plan(
    rows: Mapping[str, int],
    verdict: VerdictSpec,
    earlier: Earlier | None = None,
    repeats: Mapping[str, int] = MappingProxyType({}),
) -> Power:
    """Return what a number of rows can show.

    Each task alone, and all rows together, each counting once. The share that flips is as the spec
    says; or else as earlier runs counted it, drawn towards the assumption where they had few rows;
    or else assumed. A verdict that may come early resolves less.

    Args:
        rows: Task or group → questions whose answers are right or wrong, at least one in all.
        verdict: Margin, confidence, power and flip rate.
        earlier: What earlier runs tell.
        repeats: Task or group whose answers are drawn by chance → how often each question is asked.

    Raises:
        ValueError: There is no row.
    """
    earlier = earlier or Earlier()
    learned = [run for task in rows for run in earlier.runs.get(task, ())]
    return _power(
        rows,
        {task: _flip_rate(task, verdict, earlier, task in repeats) for task in rows},
        {task: times for task, times in repeats.items() if task in rows},
        verdict,
        () if verdict.flip_rate else tuple(dict.fromkeys(learned)),
    )


def planned_again(verdict: VerdictSpec, plan: Power) -> Power:
    """Return a plan made once more from the rows and the flip rates that it tells of each task.

    A rate that was learned from earlier runs is taken as it is; another one follows from the
    spec.

    Raises:
        ValueError: There is no row.
    """
    learned = () if verdict.flip_rate else plan.learned_from
    rates = {
        task: power.flip_rate
        if learned
        else _flip_rate(task, verdict, Earlier(), power.repeats is not None)
        for task, power in plan.tasks.items()
    }
    rows = {task: power.rows for task, power in plan.tasks.items()}
    again = _power(rows, rates, _repeats(plan), verdict, learned)
    return again.model_copy(update={"accelerator_minutes": plan.accelerator_minutes})


def _repeats(plan: Power) -> dict[str, int]:
    return {task: of.repeats for task, of in plan.tasks.items() if of.repeats is not None}


def _power(
    rows: Mapping[str, int],
    rates: Mapping[str, float],
    repeats: Mapping[str, int],
    verdict: VerdictSpec,
    learned: tuple[str, ...],
) -> Power:
    total = sum(rows.values())
    if total < 1:
        raise ValueError("no rows, nothing to plan")
    alpha = 1 - verdict.confidence
    rate = sum(count * rates[task] for task, count in rows.items()) / total
    wider = room(verdict)
    parts = {
        task: Asked(count, rates[task], repeats.get(task, 1), ALIKE)
        for task, count in rows.items()
        if count
    }
    share = verdict.margin_points / 100 / wider
    if any(part.times > 1 for part in parts.values()):
        every = [*parts.values()]
        drop = smallest_drop_of(every, verdict.power, alpha)
        least = smallest_margin_of(every, verdict.power, verdict.confidence)
        needed = questions_for_margin(every, share, verdict.power, verdict.confidence)
    else:
        drop = smallest_drop(total, rate, verdict.power, alpha)
        least = smallest_margin(total, rate, verdict.power, verdict.confidence)
        needed = rows_for_margin(share, rate, verdict.power, verdict.confidence)
    return Power(
        tasks={
            task: _of_task(count, rates[task], parts.get(task), repeats.get(task), verdict)
            for task, count in rows.items()
        },
        rows=total,
        flip_rate=rate,
        learned_from=learned,
        smallest_drop_points=min(100 * wider * drop, 100.0),
        smallest_margin_points=min(100 * wider * least, 100.0),
        rows_for_margin=needed,
    )


def _of_task(
    count: int, rate: float, part: Asked | None, repeats: int | None, verdict: VerdictSpec
) -> TaskPower:
    alpha = 1 - verdict.confidence
    again = part is not None and part.times > 1
    return TaskPower(
        rows=count,
        flip_rate=rate,
        smallest_drop_points=100
        * (
            smallest_drop_of([part], verdict.power, alpha)
            if part and again
            else smallest_drop(count, rate, verdict.power, alpha)
        ),
        repeats=repeats,
        correlation=part.alike if part and again else None,
        effective=part.effective if part and again else None,
    )


def resolves(verdict: VerdictSpec, power: Power) -> bool:
    """Return whether the rows are enough for the margin of the spec."""
    return power.smallest_margin_points <= verdict.margin_points + _FLOAT_NOISE


def resolvable_margin(power: Power) -> float:
    """Return the smallest margin that the rows resolve, rounded up to a tenth of a point."""
    # Binary fractions are a hair off: six decimals drop it before rounding up.
    return min(100.0, math.ceil(round(power.smallest_margin_points * _TENTH, 6)) / _TENTH)


def margin(verdict: VerdictSpec, power: Power) -> tuple[float, float | None]:
    """Return the margin to hold the verdict against, and the one of the spec if that was widened.

    Both in percentage points. Nothing is widened unless the spec allows it, and no further than an
    assumed rate of flips asks: what earlier runs showed may be these very answers, and a margin
    that grew with what was lost would be no margin.
    """
    if verdict.if_unresolvable == "refuse" or resolves(verdict, power):
        return verdict.margin_points, None
    drawn = sum(of.rows for of in power.tasks.values() if of.repeats) / max(power.rows, 1)
    if power.learned_from and power.flip_rate > ASSUMED + (ASSUMED_DRAWN - ASSUMED) * drawn:
        repeats = _repeats(power)
        rows = {task: of.rows for task, of in power.tasks.items()}
        power = plan(rows if repeats else {"": power.rows}, verdict, repeats=repeats)
    return max(resolvable_margin(power), verdict.margin_points), verdict.margin_points


def planned(verdict: VerdictSpec, folder: Path) -> tuple[Power | None, tuple[float, float | None]]:
    """Return what was planned before anything was spent, and the margin that goes with it.

    Args:
        verdict: As in the spec.
        folder: The run's folder, which holds the plan.

    Returns:
        The plan, if there is one; and as `margin`.
    """
    file = folder / "plan.json"
    if not file.is_file():
        return None, (verdict.margin_points, None)
    power = Power.model_validate_json(file.read_text(encoding="utf-8"))
    return power, margin(verdict, power)


def _flip_rate(task: str, verdict: VerdictSpec, earlier: Earlier, drawn: bool) -> float:
    if verdict.flip_rate is not None:
        return verdict.flip_rate
    assumed = ASSUMED_DRAWN if drawn else ASSUMED
    flips = earlier.flips.get(task)
    if flips is None:
        return assumed
    return (flips.flipped + assumed * _BELIEF) / (flips.rows + _BELIEF)
