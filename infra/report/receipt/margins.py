"""Do the plan and the margin follow from the rows and from the spec?

A margin that was widened is held against the plan, and the plan against the rows: whoever widens a
margin afterwards would have to change all three.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from infra.contracts.records import Power, Report, TaskScores
from infra.judging import power
from infra.report.receipt.comparing import plain, unequal

PLAN = "plan.json"
"""The plan as it was before anything was spent, in the run's folder."""

Margin = tuple[float, float | None]
"""Margin, and the one of the spec if that was widened; percentage points."""


def margin_of(report: Report) -> Margin:
    """Return the margin that follows from the recorded plan."""
    spec = report.spec.judged_verdict
    if report.power is None:
        return spec.margin_points, None
    found = power.margin(spec, report.power)
    if report.rules < 3 and _reported(report) != found and found[1] is not None:
        # Some runs of these versions widened as far as earlier runs' flips wanted.
        learned = power.resolvable_margin(report.power)
        wider = (max(learned, spec.margin_points), spec.margin_points)
        return wider if _reported(report) == wider else found
    return found


def check_plan(report: Report, whole: Mapping[str, TaskScores], folder: Path) -> Iterator[str]:
    """Return what does not follow in the plan and in the margin.

    Args:
        report: The report.
        whole: The baseline's tasks, over all their rows.
        folder: The run's folder.
    """
    reported, margin = _reported(report), margin_of(report)
    if reported != margin:
        yield f"the margin is {_points(reported)}, but {_points(margin)} follows from the plan"
    file = folder / PLAN
    if file.is_file():
        try:
            planned = Power.model_validate_json(file.read_text(encoding="utf-8"))
        except ValueError as error:
            yield f"{PLAN} cannot be read: {error!s:.200}"
        else:
            yield from unequal("power", plain(report.power), plain(planned))
    if report.power is None:
        return
    for task, plan in report.power.tasks.items():
        if task in whole and plan.rows != whole[task].n:
            yield f"power.tasks.{task}.rows is {plan.rows}, but {whole[task].n} were answered"
    try:
        again = power.planned_again(report.spec.judged_verdict, report.power)
    except (ArithmeticError, ValueError) as error:
        yield f"the plan cannot be made again: {error}"
        return
    yield from unequal("power", plain(report.power), plain(again))


def _reported(report: Report) -> Margin:
    return report.verdict.margin_points, report.verdict.widened_from_points


def _points(margin: Margin) -> str:
    points, wanted = margin
    return f"{points:g} points" + ("" if wanted is None else f" (widened from {wanted:g})")
