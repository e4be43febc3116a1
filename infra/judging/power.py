"""What a run can show, planned before anything is spent.

Only rows that one arm alone has right tell the arms apart. Their expected share, the flip rate, and
the number of rows decide which loss is found, and which margin can be kept at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from infra.contracts.records import Power, TaskPower
from infra.contracts.specs import VerdictSpec
from infra.judging.earlier_runs import Duration, Earlier
from infra.judging.sequential import room
from infra.judging.statistics import rows_for_margin, smallest_drop, smallest_margin

ASSUMED = 0.1
"""Flip rate where nothing is known. A guess: smaller models flip more, and larger ones less."""

_BELIEF = 100
"""Rows that the assumption weighs against rows that were counted: no flip in a run of 40 rows does
not mean that none will be."""

_TENTH = 10
_FLOAT_NOISE = 1e-9
"""Points. Just as many rows as a margin takes are enough for it."""


def plan(rows: Mapping[str, int], verdict: VerdictSpec, earlier: Earlier | None = None) -> Power:
    """Return what a number of rows can show.

    Each task alone, and all rows together, each counting once. The share that flips is as the spec
    says; or else as earlier runs counted it, drawn towards the assumption where they had few rows;
    or else assumed. A verdict that may come early resolves less.

    Args:
        rows: Task or group → rows that are right or wrong, at least one in all.
        verdict: Margin, confidence, power and flip rate.
        earlier: What earlier runs tell.

    Raises:
        ValueError: There is no row.
    """
    earlier = earlier or Earlier()
    total = sum(rows.values())
    learned = [run for task in rows for run in earlier.runs.get(task, ())]
    return _power(
        rows,
        {task: _flip_rate(task, verdict, earlier) for task in rows},
        verdict,
        () if verdict.flip_rate else tuple(dict.fromkeys(learned)),
        _minutes(total, earlier.duration),
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
        task: power.flip_rate if learned else _flip_rate(task, verdict, Earlier())
        for task, power in plan.tasks.items()
    }
    rows = {task: power.rows for task, power in plan.tasks.items()}
    return _power(rows, rates, verdict, learned, plan.accelerator_minutes)


def _power(
    rows: Mapping[str, int],
    rates: Mapping[str, float],
    verdict: VerdictSpec,
    learned: tuple[str, ...],
    minutes: float | None,
) -> Power:
    total = sum(rows.values())
    if total < 1:
        raise ValueError("no rows, nothing to plan")
    alpha = 1 - verdict.confidence
    rate = sum(count * rates[task] for task, count in rows.items()) / total
    wider = room(verdict)
    return Power(
        tasks={
            task: TaskPower(
                rows=count,
                flip_rate=rates[task],
                smallest_drop_points=100 * smallest_drop(count, rates[task], verdict.power, alpha),
            )
            for task, count in rows.items()
        },
        rows=total,
        flip_rate=rate,
        learned_from=learned,
        smallest_drop_points=min(
            100 * wider * smallest_drop(total, rate, verdict.power, alpha), 100.0
        ),
        smallest_margin_points=min(
            100 * wider * smallest_margin(total, rate, verdict.power, verdict.confidence), 100.0
        ),
        rows_for_margin=rows_for_margin(
            verdict.margin_points / 100 / wider, rate, verdict.power, verdict.confidence
        ),
        accelerator_minutes=minutes,
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
    if power.learned_from and power.flip_rate > ASSUMED:
        power = plan({"": power.rows}, verdict)
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


def _flip_rate(task: str, verdict: VerdictSpec, earlier: Earlier) -> float:
    if verdict.flip_rate is not None:
        return verdict.flip_rate
    flips = earlier.flips.get(task)
    if flips is None:
        return ASSUMED
    return (flips.flipped + ASSUMED * _BELIEF) / (flips.rows + _BELIEF)


def _minutes(rows: int, earlier: Duration | None) -> float | None:
    """Return the minutes of an earlier run, its evaluation drawn out by the number of rows."""
    if earlier is None:
        return None
    return (earlier.startup_seconds + earlier.evaluation_seconds * rows / earlier.rows) / 60
