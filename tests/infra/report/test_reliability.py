"""How sure and how right both arms are stands on the page, and is made again by a check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra import report as reports
from infra.contracts import wording
from infra.contracts.records import Report
from infra.contracts.records.reliability import Positions
from infra.judging import reliability
from infra.judging.pairing import RunRows
from infra.report import receipt, reliability_plot, reliability_tables
from infra.report.html import render
from tests.infra.made_runs import make_run, of_pair
from tests.infra.report.receipt.conftest import seal, with_checkpoints
from tests.infra.report.test_report import Page

PLACES = Positions(pairs=40, agree=30, first=50, second=30)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    folder = tmp_path_factory.mktemp("runs") / "run"  # its checkpoints go beside it
    folder.mkdir()
    made = with_checkpoints(make_run(folder, rows=60), folder)
    [pair] = made.pairs
    found = reliability.compare(pair.baseline, pair.candidate, RunRows(folder))
    comparison = pair.comparison.model_copy(update={"reliability": found})
    return of_pair(made, comparison=comparison), folder


def test_both_arms_stand_side_by_side(run: tuple[Report, Path]) -> None:
    [pair] = run[0].pairs
    table = reliability_tables.reliability(pair)
    assert table is not None
    tasks = [*pair.comparison.reliability]
    assert "gsm8k" not in tasks  # it has no choices
    assert [row["Task"] for row in table.rows] == [task for task in tasks for _ in range(2)]
    first = pair.comparison.reliability[tasks[0]].baseline
    assert table.rows[0]["Calibration error"] == wording.share(first.error)
    assert reliability_tables.positions(pair) is None
    text = Page(render(*run)).text
    assert "Reliability: right as often as sure" in text
    assert "Both orders" not in text
    assert "## Reliability: right as often as sure" in reports.artifact_markdown(run[0])


def test_a_figure_is_drawn_in_every_layout_and_told_in_words(run: tuple[Report, Path]) -> None:
    [pair] = run[0].pairs
    for layout in ("wide", "narrow"):
        drawn = reliability_plot.draw(pair, layout=layout)  # type: ignore[arg-type]
        assert drawn is not None
        assert b"<svg" in drawn
    assert "calibration error" in reliability_plot.describe(pair)


def test_pairs_in_both_orders_have_a_table(run: tuple[Report, Path]) -> None:
    [pair] = run[0].pairs
    task, found = next(iter(pair.comparison.reliability.items()))
    found = found.model_copy(update={"baseline_positions": PLACES, "candidate_positions": PLACES})
    comparison = pair.comparison.model_copy(update={"reliability": {task: found}})
    report = of_pair(run[0], comparison=comparison)
    table = reliability_tables.positions(report.pairs[0])
    assert table is not None
    assert table.rows[0]["Judged alike in both orders"] == "75.0 %"
    assert table.rows[0]["Prefers the first"] == "62.5 % of 80"
    assert "Both orders" in Page(render(report, run[1])).text


def test_without_probabilities_there_is_no_section(run: tuple[Report, Path]) -> None:
    [pair] = run[0].pairs
    report = of_pair(run[0], comparison=pair.comparison.model_copy(update={"reliability": {}}))
    assert reliability_plot.draw(report.pairs[0]) is None
    assert "Reliability" not in Page(render(report, run[1])).text


def test_a_number_that_was_edited_is_named(run: tuple[Report, Path], tmp_path: Path) -> None:
    report, folder = run
    seal(report, folder)
    assert not [check for check in receipt.verify(folder) if check.wrong]
    document = json.loads((folder / "report.json").read_text())
    task = next(iter(report.pairs[0].comparison.reliability))
    [judged] = document["judged"].values()
    judged["comparison"]["reliability"][task]["candidate"]["error"] += 0.01
    seal(Report.model_validate(document), folder)
    [wrong] = [check for check in receipt.verify(folder) if check.wrong]
    assert f"reliability.{task}.candidate.error is" in wrong.wrong[0]
