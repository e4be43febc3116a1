"""Do the plan and the margin follow from the rows and from the spec?

A margin that was widened is held against the plan, and the plan against the rows: whoever widens a
margin afterwards would have to change all three.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.contracts.records import Power, Report, TaskScores
from infra.contracts.specs import VerdictSpec
from infra.judging import power
from infra.report.receipt.comparing import plain, unequal

PLAN = "plan.json"
"""The plan as it was before anything was spent, in the run's folder."""

Margin = tuple[float, float | None]
"""Margin, and the one of the spec if that was widened; percentage points."""


@dataclass(frozen=True)
class Planned:
    """What a report says of plan and margin."""

    spec: VerdictSpec
    """What is judged is held against it."""

    power: Power | None
    margin: Margin
    rules: int

    @classmethod
    def of(cls, report: Report) -> Planned:
        """Return what the report of a run says."""
        reported = report.verdict.margin_points, report.verdict.widened_from_points
        return cls(report.spec.judged_verdict, report.power, reported, report.rules)


def margin_of(report: Report) -> Margin:
    """Return the margin that follows from the recorded plan."""
    return _margin(Planned.of(report))


def _margin(said: Planned) -> Margin:
    spec = said.spec
    if said.power is None:
        return spec.margin_points, None
    found = power.margin(spec, said.power)
    if said.rules < 3 and said.margin != found and found[1] is not None:
        # Some runs of these versions widened as far as earlier runs' flips wanted.
        learned = power.resolvable_margin(said.power)
        wider = (max(learned, spec.margin_points), spec.margin_points)
        return wider if said.margin == wider else found
    return found


def check_plan(said: Planned, whole: Mapping[str, TaskScores], folder: Path) -> Iterator[str]:
    """Return what does not follow in the plan and in the margin.

    Args:
        said: What the report says of both.
        whole: The baseline's tasks, over all their rows.
        folder: The run's folder.
    """
    margin = _margin(said)
    if said.margin != margin:
        yield f"the margin is {_points(said.margin)}, but {_points(margin)} follows from the plan"
    file = folder / PLAN
    if file.is_file():
        try:
            planned = Power.model_validate_json(file.read_text(encoding="utf-8"))
        except ValueError as error:
            yield f"{PLAN} cannot be read: {error!s:.200}"
        else:
            yield from unequal("power", plain(said.power), plain(planned))
    if said.power is None:
        return
    for task, plan in said.power.tasks.items():
        rows = plan.rows * (plan.repeats or 1)
        if task in whole and rows != whole[task].n:
            yield f"power.tasks.{task}.rows is {rows}, but {whole[task].n} were answered"
    try:
        again = power.planned_again(said.spec, said.power)
    except (ArithmeticError, ValueError) as error:
        yield f"the plan cannot be made again: {error}"
        return
    yield from unequal("power", plain(said.power), plain(again))


def _points(margin: Margin) -> str:
    points, wanted = margin
    return f"{points:g} points" + ("" if wanted is None else f" (widened from {wanted:g})")
