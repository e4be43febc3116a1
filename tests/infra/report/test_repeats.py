"""What repeats show stands on the page, and is made again by a check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra import report as reports
from infra.contracts.records import Report
from infra.report import receipt, repeats_tables
from infra.report.html import render
from infra.report.markdown import metrics_table
from infra.report.trend.rows import rows_of
from tests.infra.made_runs import make_run, of_pair
from tests.infra.report.receipt.conftest import seal, with_checkpoints
from tests.infra.report.test_report import Page

TIMES = 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    folder = tmp_path_factory.mktemp("runs") / "run"  # its checkpoints go beside it
    folder.mkdir()
    return with_checkpoints(make_run(folder, rows=30, times=TIMES), folder), folder


def test_both_arms_and_every_k_have_a_row(run: tuple[Report, Path]) -> None:
    [pair] = run[0].pairs
    passes, steady = repeats_tables.passes(pair), repeats_tables.steadiness(pair)
    assert passes is not None
    assert steady is not None
    assert [(row["Task"], row["k"]) for row in passes.rows] == [("gsm8k", k) for k in "123"]
    assert [(row["Arm"], row["Questions"], row["Repeats"]) for row in steady.rows] == [
        ("Baseline", "30", "3"), ("Candidate", "30", "3"),
    ]  # fmt: skip
    of = pair.comparison.repeats["gsm8k"]
    assert of.baseline is not None
    assert f"({of.baseline.always})" in steady.rows[0]["Always right"]
    text = Page(render(*run)).text
    assert "Repeats: how steadily it answers" in text
    assert "gsm8k: 30 questions, asked 3 times each" in text
    assert "## Repeats: how steadily it answers" in reports.artifact_markdown(run[0])


def test_a_table_of_metrics_tells_questions_and_repeats(run: tuple[Report, Path]) -> None:
    [pair] = run[0].pairs
    rows = {row["Task"]: row["Rows"] for row in metrics_table(pair)}
    assert rows["gsm8k"] == "30 × 3"
    assert rows["gpqa_main_zeroshot"] == "30"
    assert "30 × 3" in Page(render(*run)).text


def test_rows_are_shown_with_their_repeat(run: tuple[Report, Path]) -> None:
    text = Page(render(*run)).text
    assert "90 rows, 3 of each question" in text
    assert "row 0, repeat 2" in text
    assert "row 1, repeat 0" in text


def test_without_repeats_there_is_no_section(tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=20)
    [pair] = made.pairs
    assert pair.comparison.repeats == {}
    page = Page(render(made, tmp_path)).text
    assert "Repeats" not in page
    assert "repeat 0" not in page


def test_arms_that_never_differ_are_said_to(run: tuple[Report, Path]) -> None:
    [pair] = run[0].pairs
    of = pair.comparison.repeats["gsm8k"].model_copy(
        update={"correlation": None, "effective": None}
    )
    comparison = pair.comparison.model_copy(update={"repeats": {"gsm8k": of}})
    [same] = of_pair(run[0], comparison=comparison).pairs
    assert repeats_tables.sentences(same) == [
        "gsm8k: 30 questions, asked 3 times each; the arms never differ."
    ]


def test_a_number_that_was_edited_is_named(run: tuple[Report, Path]) -> None:
    report, folder = run
    seal(report, folder)
    assert not [check for check in receipt.verify(folder) if check.wrong]
    document = json.loads((folder / "report.json").read_text())
    [judged] = document["judged"].values()
    judged["comparison"]["repeats"]["gsm8k"]["passes"][1]["candidate"] += 0.01
    seal(Report.model_validate(document), folder)
    [wrong] = [check for check in receipt.verify(folder) if check.wrong]
    assert "repeats.gsm8k.passes" in wrong.wrong[0]


def test_the_history_keeps_them(run: tuple[Report, Path]) -> None:
    report, _ = run
    of = report.pairs[0].comparison.repeats["gsm8k"].passes[-1]
    kept = {
        (row["arm"], row["task"], row["metric"]): row.get("pass_at_repeats")
        for row in rows_of(report)
        if row.get("repeats") == TIMES
    }
    metric = report.baseline.tasks["gsm8k"].primary_metric
    assert kept == {
        ("baseline", "gsm8k", metric): of.baseline,
        ("quantized", "gsm8k", metric): of.candidate,
    }
    assert {row.get("repeats") for row in rows_of(report)} == {None, TIMES}
