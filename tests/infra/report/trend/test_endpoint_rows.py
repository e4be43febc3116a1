"""Evaluations of endpoints stand in the history with what is known of them, and on its page."""

from __future__ import annotations

import csv
from datetime import timedelta
from pathlib import Path

import pytest

from deployments.__main__ import main
from infra.contracts.records import EndpointReport
from infra.contracts.specs import BASELINE
from infra.judging.earlier_runs import endpoint_recipe, learn
from infra.report import trend
from infra.report.trend.endpoint_rows import arm_of, record
from infra.store import history
from tests.infra.made_endpoints import MODEL, URL, make_endpoint_run

ARM = f"{MODEL}@{URL}"
UNKNOWN = (
    "checkpoint", "size_bytes", "engine", "engine_version", "device", "kernel", "dtype", "driver",
    "host", "environment", "serving", "max_model_len", "source", "calibration", "startup_seconds",
)  # fmt: skip
OF_THE_COMPARISON = ("difference", "low", "high", "lost", "gained", "verdict", "recipe", "pairs")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> EndpointReport:
    return make_endpoint_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> EndpointReport:
    return make_endpoint_run(tmp_path_factory.mktemp("runs"), baseline=False)


def rows_in(folder: Path) -> list[dict[str, str]]:
    with (folder / history.NAME).open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_with_a_baseline_both_stand_there(judged: EndpointReport, tmp_path: Path) -> None:
    assert record(judged, tmp_path) is None
    rows = rows_in(tmp_path)
    assert {row["arm"] for row in rows} == {BASELINE, ARM} and arm_of(judged) == ARM
    assert judged.judged is not None
    [gsm8k] = [
        row for row in rows if (row["arm"], row["task"], row["primary"]) == (ARM, "gsm8k", "True")
    ]
    [compared] = [
        one for one in judged.judged.comparison.metrics if one.primary and one.task == "gsm8k"
    ]
    assert float(gsm8k["difference"]) == compared.difference
    assert (int(gsm8k["lost"]), int(gsm8k["gained"])) == (compared.lost, compared.gained)
    assert gsm8k["verdict"] == judged.judged.verdict.status
    assert (gsm8k["label"], gsm8k["model"], gsm8k["revision"]) == ("endpoint", MODEL, "2026-11")
    for row in rows:
        assert [name for name in UNKNOWN if row[name]] == []


def test_without_one_nothing_is_said_of_a_verdict(single: EndpointReport, tmp_path: Path) -> None:
    record(single, tmp_path)
    rows = rows_in(tmp_path)
    assert {row["arm"] for row in rows} == {ARM}
    assert {row["task"] for row in rows} == set(single.tasks)
    assert [name for row in rows for name in (*UNKNOWN, *OF_THE_COMPARISON) if row[name]] == []


def test_the_next_run_learns_from_those_that_were_judged(
    judged: EndpointReport, single: EndpointReport, tmp_path: Path
) -> None:
    def learned() -> set[str]:
        found = learn(
            tmp_path, label="endpoint", model=MODEL, tasks=["gsm8k"],
            recipes=[endpoint_recipe(judged.spec.endpoint)],
        )  # fmt: skip
        return {run for runs in found.runs.values() for run in runs}

    record(single.model_copy(update={"run_id": "single"}), tmp_path)
    assert learned() == set()
    record(judged.model_copy(update={"run_id": "judged"}), tmp_path)
    assert learned() == {"judged"}


def test_the_page_has_both(
    judged: EndpointReport, single: EndpointReport, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    later = single.created + timedelta(days=1)
    record(judged.model_copy(update={"run_id": "judged"}), tmp_path)
    record(single.model_copy(update={"run_id": "first"}), tmp_path)
    record(single.model_copy(update={"run_id": "second", "created": later}), tmp_path)
    frame = history.read(tmp_path, trend.COLUMNS)
    drawn = trend.trends(frame)
    assert {one.task for one in drawn} == set(judged.tasks)
    assert {(one.kind.model, one.recipe_name) for one in drawn} == {(MODEL, ARM)}
    [alone] = trend.alone(frame)
    assert (alone.label, alone.arm, alone.runs) == ("endpoint", ARM, 2)
    assert [row["run"] for row in alone.rows] == ["second", "first"]
    value = single.tasks["gsm8k"].metrics[single.tasks["gsm8k"].primary_metric].value
    assert alone.rows[0]["gsm8k"] == f"{100 * value:.1f} %"

    page = trend.write(tmp_path).read_text()
    assert f"endpoint: {ARM}" in page and "3 runs over time" in page
    assert "Without a baseline: scores alone, and nothing judged · 2 runs" in page
    assert "more kinds of runs" not in page
    assert main(["history", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"endpoint: {MODEL}, {ARM}" in said
    assert f"endpoint: {ARM}, without a baseline" in said


def test_runs_without_a_baseline_take_no_chart_of_those_with_one(
    judged: EndpointReport, single: EndpointReport, tmp_path: Path
) -> None:
    later = single.created + timedelta(days=1)
    record(judged.model_copy(update={"run_id": "judged"}), tmp_path)
    record(single.model_copy(update={"run_id": "single", "created": later}), tmp_path)
    assert trend.trends(history.read(tmp_path, trend.COLUMNS), most=1) != []
