"""A widened margin follows from the plan, the plan from the rows, and both are made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.records import Report
from infra.contracts.specs import VerdictSpec
from infra.judging import power
from infra.judging.earlier_runs import Earlier, Flips
from infra.judging.verdict import decide
from infra.report import receipt
from tests.infra.made_runs import make_run, of_pair
from tests.infra.report.receipt.conftest import seal

Document = dict[str, Any]
VERDICT = VerdictSpec(margin_points=2, task_margin_points=40, if_unresolvable="widen")


def planned(folder: Path, wanted: VerdictSpec = VERDICT, earlier: Earlier | None = None) -> Report:
    """Write a run whose margin was planned, and widened if it may be."""
    made = make_run(folder, rows=60)
    plan = power.plan(
        {name: t.n for name, t in made.arms["baseline"].tasks.items()}, wanted, earlier
    )
    (folder / "plan.json").write_text(plan.model_dump_json(indent=2))
    margin, widened_from = power.margin(wanted, plan)
    [pair] = made.pairs
    verdict = decide(
        pair.comparison,
        wanted,
        what="Quantization",
        margin_points=margin,
        widened_from=widened_from,
    )
    spec = made.spec.model_copy(update={"verdict": wanted})
    made = made.model_copy(update={"spec": spec, "power": plan})
    return seal(of_pair(made, verdict=verdict), folder)


def wrong(run: Path) -> dict[str, tuple[str, ...]]:
    checks = receipt.verify(run)
    return {
        check.name: check.wrong for check in checks if check.wrong and check.name != "checkpoints"
    }


def edit(run: Path, change: Callable[[Document], Any], *, plan: bool = False) -> None:
    document = json.loads((run / "report.json").read_text())
    change(document)
    if plan:
        (run / "plan.json").write_text(json.dumps(document["power"]))
    seal(Report.model_validate(document), run)


def test_a_widened_margin_holds(tmp_path: Path) -> None:
    verdict = planned(tmp_path).verdict
    assert (verdict.widened_from_points, verdict.margin_points > 4) == (2, True)
    assert wrong(tmp_path) == {}


@pytest.mark.parametrize("verdict", [
    VERDICT.model_copy(update={"if_unresolvable": "refuse", "margin_points": 20.0}),
    VERDICT.model_copy(update={"flip_rate": 0.3}),
    VERDICT.model_copy(update={"margin_points": 30.0}),
])  # fmt: skip
def test_other_margins_hold(tmp_path: Path, verdict: VerdictSpec) -> None:
    planned(tmp_path, verdict)
    assert wrong(tmp_path) == {}


def test_flips_that_were_learned_hold(tmp_path: Path) -> None:
    planned(tmp_path, earlier=Earlier({"gsm8k": Flips(500, 200)}, {"gsm8k": ("sample-0",)}))
    assert wrong(tmp_path) == {}


def wider(document: Document) -> None:
    """Tell a plan that resolves less, and the margin that follows from it."""
    document["power"].update(smallest_margin_points=12.0)
    document["verdict"].update(margin_points=12.0)


def fewer(document: Document) -> None:
    for task in document["power"]["tasks"].values():
        task["rows"] = 10
    again = power.planned_again(VERDICT, Report.model_validate(document).power)  # type: ignore[arg-type]
    document["power"] = json.loads(again.model_dump_json())
    document["verdict"]["margin_points"] = power.resolvable_margin(again)


def flipping(document: Document) -> None:
    document["power"]["learned_from"] = ["sample-0"]
    for task in document["power"]["tasks"].values():
        task["flip_rate"] = 0.9
    again = power.planned_again(VERDICT, Report.model_validate(document).power)  # type: ignore[arg-type]
    document["power"] = json.loads(again.model_dump_json())
    document["verdict"]["margin_points"] = power.resolvable_margin(again)


@pytest.mark.parametrize("plan", [False, True])
@pytest.mark.parametrize(("change", "named"), [
    (lambda d: d["verdict"].update(margin_points=9.0), "the margin is 9 points (widened from 2)"),
    (lambda d: d["verdict"].update(widened_from_points=3.0), "(widened from 3), but "),
    (lambda d: d["verdict"].update(widened_from_points=None), "points (widened from 2) follows"),
    (lambda d: d["spec"]["verdict"].update(if_unresolvable="refuse"), "but 2 points follows"),
    (wider, "power.smallest_margin_points is 12.0, but "),
    (fewer, "power.tasks.gsm8k.rows is 10, but 60 were answered"),
    (flipping, "the margin is "),
    (lambda d: d.update(power=None), "but 2 points follows from the plan"),
])  # fmt: skip
def test_an_edited_margin_is_named_though_it_was_sealed_again(
    tmp_path: Path, change: Callable[[Document], Any], named: str, plan: bool
) -> None:
    planned(tmp_path)
    edit(tmp_path, change, plan=plan)
    found = wrong(tmp_path)
    assert any(named in line for line in found["verdict"]), found
    assert not {"seal", "values", "files", "rows"} & set(found)


def test_the_plan_of_the_run_is_the_plan_of_the_report(tmp_path: Path) -> None:
    planned(tmp_path)
    edit(tmp_path, lambda document: document["power"].update(accelerator_minutes=1.0))
    assert wrong(tmp_path)["verdict"] == (
        "power.accelerator_minutes is 1.0, but None follows from what is stored",
    )
    (tmp_path / "plan.json").write_text("{")
    assert any("plan.json cannot be read" in line for line in wrong(tmp_path)["verdict"])
