"""A run that is worse than the last good one raises an alert, and one that is not does not."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.records import Alert, Report
from infra.contracts.specs import ModelSpec, ResultsSpec
from infra.report.receipt import sealed
from infra.report.summary import summarize
from infra.report.trend import alerts, rows
from infra.stages import publishing
from infra.store import history
from infra.store.settings import Settings
from tests.infra.made_runs import make_card, make_run, of_pair
from tests.infra.report.trend.histories import days, write_history

LATER = timedelta(days=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of the same questions, with the rows of both: the later one answers as before."""
    runs = tmp_path_factory.mktemp("runs")
    good = make_run(runs / "good", run_id="good", rows=300)
    _write(_verdict(good, "PASS"), runs)
    shutil.copytree(runs / "good", runs / "now")
    return runs


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "runs"))


def _verdict(report: Report, status: str) -> Report:
    return of_pair(report, verdict=report.verdict.model_copy(update={"status": status}))


def _write(report: Report, runs: Path) -> None:
    rows.record(report, runs)
    path = runs / report.run_id / "report.json"
    path.write_text(sealed(report, path.parent).model_dump_json())


def _now(runs: Path, status: str = "PASS") -> Report:
    """Return the report of the later run, whose rows lie in `now`."""
    report = Report.model_validate_json((runs / "good" / "report.json").read_text())
    later = report.created + LATER
    changes = {"run_id": "now", "created": later, "receipt": None}
    return _verdict(report.model_copy(update=changes), status)


def _lose(runs: Path, report: Report, task: str, rows: int) -> Report:
    """Let the later run's candidate lose its first right rows of a task."""
    scores = report.arms["quantized"].tasks[task]
    path = runs / "now" / scores.samples
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for row in [row for row in lines if row["metrics"][scores.primary_metric]][:rows]:
        row["metrics"][scores.primary_metric] = 0.0
    path.write_text("".join(json.dumps(row) + "\n" for row in lines))
    value = scores.metrics[scores.primary_metric]
    value = value.model_copy(update={"value": value.value - rows / scores.n})
    metrics = {**scores.metrics, scores.primary_metric: value}
    return _with_task(report, task, metrics=metrics)


def _with_task(report: Report, task: str, **changes: Any) -> Report:
    arm = report.arms["quantized"]
    tasks = {**arm.tasks, task: arm.tasks[task].model_copy(update=changes)}
    arms = {**report.arms, "quantized": arm.model_copy(update={"tasks": tasks})}
    return report.model_copy(update={"arms": arms})


def _found(report: Report, runs: Path) -> Alert | None:
    """Return what is found of the one candidate."""
    [pair] = report.pairs
    return alerts.alert(pair, runs)


def _alert(report: Report, runs: Path) -> Alert:
    found = _found(report, runs)
    assert found is not None
    return found


def test_a_run_like_the_last_good_one_is_no_alert(runs: Path) -> None:
    now = _now(runs)
    assert _found(now, runs) is None
    rows.record(now, runs)
    assert _found(now, runs) is None
    again = _verdict(now.model_copy(update={"created": now.created + LATER}), "FAIL")
    assert _alert(again, runs).good_run == "good", "a retry is not compared with itself"


def test_the_first_run_of_its_kind_is_no_alert(runs: Path, tmp_path: Path) -> None:
    assert _found(_now(runs, "FAIL"), tmp_path / "empty") is None


def test_what_cannot_be_compared_with_is_no_regression(runs: Path) -> None:
    now = _now(runs)
    foreign = {"arms": {"baseline": {"server": {"command": 5}}}}
    (runs / "good" / "report.json").write_text(json.dumps(foreign))
    results = now.spec.results.model_copy(update={"folder": str(runs)})
    spec = now.spec.model_copy(update={"results": results})
    [pair] = now.model_copy(update={"spec": spec}).pairs
    judgement = publishing.beside_earlier(pair, Settings())
    assert judgement.alert is None
    report = now.model_copy(update={"judged": {pair.name: judgement}})
    assert [event["event"] for event in alerts.events(report)] == [alerts.VERDICT]
    [pair] = report.pairs
    assert any("could not be compared with" in caveat for caveat in summarize(pair).caveats)
    assert not summarize(pair).alert


@pytest.mark.parametrize("status", ["FAIL", "INCONCLUSIVE"])
def test_a_verdict_that_is_no_pass_any_more(runs: Path, status: str) -> None:
    found = _alert(_now(runs, status), runs)
    assert found.reasons == (f"The verdict is {status}; good of 2026-11-21 passed.",)
    assert found.good_run == "good"
    assert found.changes == ()


def test_rows_lost_against_the_good_run(runs: Path) -> None:
    """Twelve rows, all to one side: p = 2^-12, twice over with Holm over four tests and the pool.

    In accuracy it is a step from 60 to 56 %, which two samples of 300 rows do not show.
    """
    now = _lose(runs, _now(runs), "gsm8k", 12)
    found = _alert(now, runs)
    assert found.reasons == (
        "Over all tasks, the candidate lost 12 rows and gained 0 against good (p = 0.00098).",
        "The candidate's gsm8k lost 12 rows and gained 0 against good (p = 0.00098).",
    )
    shutil.rmtree(runs / "good" / "samples")
    assert _found(now, runs) is None, "without rows, that may be chance"


def test_six_rows_may_be_chance(runs: Path) -> None:
    """p = 2^-6 = 0.016 before any correction."""
    assert _found(_lose(runs, _now(runs), "gsm8k", 6), runs) is None


def test_a_large_fall_is_seen_without_the_good_runs_rows(runs: Path) -> None:
    now = _lose(runs, _now(runs), "gsm8k", 60)
    shutil.rmtree(runs / "good")
    found = _alert(now, runs)
    assert len(found.reasons) == 1
    assert "gsm8k fell from " in found.reasons[0]
    assert "whose rows are gone (p = " in found.reasons[0]
    moved = _with_task(now, "gsm8k", questions="other questions")
    assert _found(moved, runs) is None, "other questions are not compared"


def test_only_runs_of_its_kind_count(runs: Path) -> None:
    now = _now(runs, "FAIL")
    baseline = now.spec.baseline
    other = baseline.model_copy(update={"model": ModelSpec(id="other")})
    for change in ({"results": ResultsSpec(label="other")}, {"baseline": other}):
        spec = now.spec.model_copy(update=change)
        assert _found(now.model_copy(update={"spec": spec}), runs) is None
    arms = {
        arm: result.model_copy(update={"tasks": {"gsm8k": result.tasks["gsm8k"]}})
        for arm, result in now.arms.items()
    }
    assert _found(now.model_copy(update={"arms": arms}), runs) is None
    earlier = now.model_copy(update={"created": now.created - 2 * LATER})
    assert _found(earlier, runs) is None


def test_the_last_good_run_is_the_last_one_that_passed(runs: Path) -> None:
    now = _now(runs)
    for hours, status in ((1, "PASS"), (2, "FAIL")):
        other = _verdict(now, status).model_copy(
            update={
                "run_id": f"{status}-{hours}",
                "created": now.created - LATER + timedelta(hours=hours),
            }
        )
        rows.record(other, runs)
    assert _alert(_verdict(now, "FAIL"), runs).good_run == "PASS-1"


def test_a_good_candidate_with_the_recipe_counts_before_one_with_the_name(runs: Path) -> None:
    now = _now(runs, "FAIL")
    for hours, name, recipe in ((1, "renamed", None), (2, "quantized", "other"), (3, "b", "b")):
        created = now.created - LATER + timedelta(hours=hours)
        of_run = [{**row, "created": created.isoformat()} for row in rows.rows_of(now)]
        for row in of_run:
            if row["arm"] != "baseline":
                row |= {"arm": name, "verdict": "PASS", "recipe": recipe or row["recipe"]}
        assert history.append(f"{name}-{hours}", of_run, runs) is None
    assert _alert(now, runs).good_run == "renamed-1"
    with closing(sqlite3.connect(runs / "history.sqlite")) as connection, connection:
        connection.execute("DELETE FROM history WHERE run_id IN ('good', 'renamed-1')")
    assert _alert(now, runs).good_run == "quantized-2"


def test_a_score_outside_its_control_limits(runs: Path) -> None:
    now = _now(runs)
    shutil.rmtree(runs / "good")
    value = now.arms["quantized"].tasks["gsm8k"].metrics["exact_match,strict-match"].value
    steady = [value + 0.2 + step / 100 for step in (0, 1, 0, -1, 1, 0, -1, 0, 1, 0, 0, 1)]
    write_history(runs, days(now, {"gsm8k": steady}, verdict="FAIL"))
    found = _alert(now, runs)
    assert found.good_run is None
    assert [reason.partition(" lies outside of ")[0] for reason in found.reasons] == [
        "gsm8k: the candidate's score", "gsm8k: the difference",
    ]  # fmt: skip
    better = [value - 0.2 + step / 100 for step in (0, 1, 0, -1, 1, 0, -1, 0, 1, 0, 0, 1)]
    write_history(runs, days(now, {"gsm8k": better}, verdict="FAIL"))
    assert _found(now, runs) is None, "better than expected is no alert"


def _later(report: Report) -> Report:
    """Return the report with something else in every place that may explain a loss."""
    arms = {
        arm: result.model_copy(
            update={
                "server": result.server.model_copy(
                    update={
                        "version": "0.33.0", "kernel": "MarlinLinearKernel",
                        "command": ("/envs/server-cpu-99/bin/python", "-m", "vllm"),
                    }
                )
            }
        )
        for arm, result in report.arms.items()
    }  # fmt: skip
    candidate = report.arms["quantized"]
    card = make_card().model_copy(update={"fingerprint": "ab" * 32})
    checkpoint = candidate.checkpoint.model_copy(update={"calibration": card})
    arms["quantized"] = arms["quantized"].model_copy(update={"checkpoint": checkpoint})
    baseline = arms["baseline"]
    moved = baseline.tasks["gsm8k"].model_copy(update={"questions": "cd" * 32})
    tasks = {**baseline.tasks, "gsm8k": moved}
    arms["baseline"] = baseline.model_copy(update={"tasks": tasks})
    [change] = report.spec.candidates
    assert change.quantization is not None
    recipe = change.quantization.model_copy(update={"group_size": 64})
    candidates = (change.model_copy(update={"quantization": recipe}),)
    spec = report.spec.model_copy(update={"candidates": candidates})
    provenance = {**report.provenance, "driver": "570.1", "assay commit": "12" * 20}
    changed = report.model_copy(update={"arms": arms, "spec": spec, "provenance": provenance})
    return _with_task(changed, "gsm8k", questions="cd" * 32)


def test_what_changed_is_seen_in_the_reports(runs: Path) -> None:
    same = _now(runs, "FAIL")
    now = _later(same)
    fingerprint = make_card().fingerprint[:12]
    questions = same.baseline.tasks["gsm8k"].questions[:12]
    assert set(_alert(now, runs).changes) == {
        "engine: 0.32.0 → 0.33.0",
        "engine's environment: server-cpu → server-cpu-99",
        "baseline: kernel: none → MarlinLinearKernel",
        "quantized: kernel: CPUWNA16LinearKernel → MarlinLinearKernel",
        "driver: none → 570.1",
        "Assay: 83b41cf00000 → 121212121212",
        f"quantized: calibration conversations: {fingerprint} → abababababab",
        f"gsm8k: questions: {questions} → cdcdcdcdcdcd",
        "candidates[0].quantization.group_size: 128 → 64",
    }


def test_what_changed_is_seen_in_the_history_where_the_report_is_gone(runs: Path) -> None:
    now = _later(_now(runs, "FAIL"))
    (runs / "good" / "report.json").unlink()
    changes = _alert(now, runs).changes
    assert "engine: 0.32.0 → 0.33.0" in changes
    assert "quantized: kernel: CPUWNA16LinearKernel → MarlinLinearKernel" in changes
    assert "Assay: 83b41cf00000 → 121212121212" in changes
    assert any(change.startswith("quantized: quantization: ") for change in changes)
    assert any(change.startswith("gsm8k: questions: ") for change in changes)
    assert len(changes) == 9


@pytest.mark.parametrize("damage", [
    lambda path: path.write_text("{"),
    lambda path: path.write_text("[]"),
    lambda path: path.write_text('{"arms": 3, "spec": [], "provenance": {"python": "3.9"}}'),
])  # fmt: skip
def test_a_good_report_that_cannot_be_read_hides_no_alert(
    runs: Path, damage: Callable[[Path], None]
) -> None:
    now = _now(runs, "FAIL")
    damage(runs / "good" / "report.json")
    assert _alert(now, runs).good_run == "good"


def test_a_history_that_cannot_be_read_does_not_lose_the_report(runs: Path) -> None:
    (runs / "history.sqlite").write_bytes(b"no database" * 1000)
    assert _found(_now(runs, "FAIL"), runs) is None


def test_a_damaged_table_hides_no_alert(runs: Path) -> None:
    path = runs / "history.csv"
    path.write_text(path.read_text() + "x,y\n")
    assert _alert(_now(runs, "FAIL"), runs).good_run == "good"


def test_events_are_json(runs: Path) -> None:
    now = _now(runs, "FAIL")
    verdict, *others = alerts.events(now)
    assert others == []
    assert verdict["event"] == "assay.verdict"
    assert verdict["resource"]["prefect.resource.id"] == "assay.label.sample"
    assert verdict["resource"]["assay.verdict"] == "FAIL"
    assert set(verdict["payload"]["candidates"]["quantized"]["tasks"]) == set(now.baseline.tasks)
    events = alerts.events(of_pair(now, alert=_alert(now, runs)))
    assert [one["event"] for one in events] == ["assay.verdict", "assay.run.regressed"]
    worse = events[1]["payload"]
    assert (worse["candidate"], worse["good_run"]) == ("quantized", "good")
    assert worse["reasons"][0].startswith("The verdict is FAIL")
    assert json.loads(json.dumps(events)) == events
