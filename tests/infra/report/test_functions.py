"""How well functions are called stands on the page, in the artifact and in a figure."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import report as reports
from infra.contracts.records import Report
from infra.contracts.records.functions import CallPart, FunctionCalls, OfferedFunctions
from infra.report import functions_plot, functions_tables
from infra.report.html import render
from tests.infra.made_runs import make_run, of_pair
from tests.infra.report.test_report import Page

CALLS = FunctionCalls(
    confidence=0.95,
    parts=(
        CallPart(metric="all_right", rows=40, baseline=0.95, candidate=0.7),
        CallPart(metric="right_final", rows=10, baseline=0.9, candidate=0.8),
    ),
    offered=(
        OfferedFunctions(offered=1, rows=20, baseline=1, candidate=1, low=-0.1, high=0.1),
        OfferedFunctions(offered=16, rows=20, baseline=0.9, candidate=0.4, low=None, high=None),
    ),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    folder = tmp_path_factory.mktemp("run")
    made = make_run(folder, rows=40)
    [pair] = made.pairs
    comparison = pair.comparison.model_copy(update={"functions": {"tools": CALLS}})
    return of_pair(made, comparison=comparison), folder


def test_parts_and_numbers_of_functions_have_a_table_each(run: tuple[Report, Path]) -> None:
    [pair] = run[0].pairs
    parts, offered = functions_tables.parts(pair), functions_tables.offered(pair)
    assert parts is not None and offered is not None
    assert [row["Right"] for row in parts.rows] == [
        "all of it", "final answer uses what came back"
    ]  # fmt: skip
    assert [row["Functions offered"] for row in offered.rows] == ["1", "16"]
    assert (offered.rows[1]["Difference"], offered.rows[1]["Interval"]) == ("−50.0", "-")
    text = Page(render(*run)).text
    assert "Function calling" in text and "By number of functions" in text
    assert "Berkeley Function-Calling Leaderboard" in text
    markdown = reports.artifact_markdown(run[0])
    assert "## Function calling" in markdown and "By number of functions" in markdown


def test_one_number_of_functions_needs_no_figure(run: tuple[Report, Path]) -> None:
    [pair] = run[0].pairs
    for layout in ("wide", "narrow"):
        assert b"<svg" in (functions_plot.draw(pair, layout=layout) or b"")  # type: ignore[arg-type]
    assert "16 functions, baseline 90.0 %, candidate 40.0 %" in functions_plot.describe(pair)
    one = CALLS.model_copy(update={"offered": CALLS.offered[:1]})
    comparison = pair.comparison.model_copy(update={"functions": {"tools": one}})
    [alone] = of_pair(run[0], comparison=comparison).pairs
    assert functions_plot.draw(alone) is None
    assert functions_tables.offered(alone) is None
    assert functions_tables.parts(alone) is not None


def test_a_run_without_functions_says_nothing_of_them(tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=40)
    assert "Function calling" not in Page(render(made, tmp_path)).text
