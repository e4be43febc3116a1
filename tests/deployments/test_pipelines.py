"""The commands for other people's pipelines, as a job calls them."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from deployments.__main__ import main
from infra.report import write
from tests.infra.made_runs import make_run
from tests.infra.stages.passed_run import SECRET, hub, judged
from tests.infra.suite.foreign.conftest import DATA
from tests.stub_hub import StubHub

__all__ = ["hub"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "sample-1"
    folder.mkdir()
    write(make_run(folder, rows=40), folder=folder)
    return folder


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("passed") / "sample-1"
    folder.mkdir()
    assert judged(folder, margin=20).verdict.status == "PASS"
    return folder


@pytest.fixture(autouse=True)
def _outside_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def test_each_form_goes_to_stdout_or_a_file(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run)]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "run"
    assert main(["export", str(run), "--format", "junit", "--out", str(tmp_path / "j.xml")]) == 0
    assert ElementTree.parse(tmp_path / "j.xml").getroot().tag == "testsuites"
    assert capsys.readouterr().out == ""
    assert main(["export", str(run), "--format", "summary"]) == 0
    assert capsys.readouterr().out.startswith("## ")


def test_the_summary_is_added_to_that_of_the_job(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("what another step said\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert main(["export", str(run), "--format", "summary"]) == 0
    said, _, added = summary.read_text(encoding="utf-8").partition("\n")
    assert said == "what another step said" and added.startswith("## ")
    assert main(["export", str(run), "--format", "junit"]) == 0  # is no summary
    assert capsys.readouterr().out.startswith("<?xml")
    assert main(["export", str(run), "--format", "summary", "--out", "-"]) == 0
    assert capsys.readouterr().out.startswith("## ")


def test_a_gate_ends_as_the_verdict_is(run: Path) -> None:
    expected = json.loads((run / "verdict.json").read_text(encoding="utf-8"))["exit_code"]
    assert expected == 4
    assert main(["export", str(run), "--gate", "--out", str(run.parent / "v.json")]) == 4


def test_what_is_no_report_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path)]) == 2
    assert "remedy:" in capsys.readouterr().err


def compare(*arguments: str, program: str = "lm_eval") -> int:
    arms = [str(DATA / arm / program) for arm in ("baseline", "candidate")]
    return main(["compare", *arms, *arguments])


def test_results_of_others_end_as_their_verdict_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare("--margin", "60", "--out", str(tmp_path / "out"), "--name", "int4") == 0
    said = capsys.readouterr()
    assert said.out.startswith("## ✅ PASS") and "verdict.json" in said.err
    document = json.loads((tmp_path / "out" / "verdict.json").read_text(encoding="utf-8"))
    assert document["kind"] == "comparison" and document["candidates"][0]["name"] == "int4"
    assert len(document["sources"]) == 4  # two tasks an arm
    assert ElementTree.parse(tmp_path / "out" / "junit.xml").getroot().tag == "testsuites"
    assert (tmp_path / "out" / "summary.md").read_text(encoding="utf-8") == said.out
    assert compare("--margin", "30") == 4


def test_the_summary_of_a_comparison_goes_to_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert compare("--margin", "60") == 0
    assert capsys.readouterr().out.startswith("PASS: candidate")
    assert (tmp_path / "summary.md").read_text(encoding="utf-8").startswith("## ✅ PASS")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "rows are too few for a margin of 1 point"),
        (("--margin", "0"), "margin_points: Input should be greater than 0"),
        (("--margin", "5", "--task-margin", "1"), "task_margin_points=1 is below"),
        (("--own-margin", "wer"), "The margins cannot be used"),
        (("--own-margin", "wer=little"), "The margins cannot be used"),
        (("--metric", "bleu"), "has no metric 'bleu'"),
    ],
)
def test_what_cannot_be_compared_is_bad_input(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(*arguments) == 2
    error = capsys.readouterr().err
    assert said in error and "remedy:" in error


def test_a_dry_run_of_a_push_prints_what_would_go_where(
    passed: Path, hub: StubHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(passed), "--to", "hf:org/model", "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "5 files" in said.out and "## What quantization cost" in said.out
    assert "nothing was sent" in said.err
    assert hub.requests == []


def test_a_push_ends_with_the_address(
    passed: Path, hub: StubHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(passed), "--to", "ms:org/model", "--public"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{hub.url}/models/org/model\n"
    assert hub.written.visibility["org/model"] not in (1, "private", True)
    assert SECRET not in said.out + said.err


def test_a_push_that_is_refused_is_bad_input(
    run: Path, hub: StubHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(run), "--to", "hf:org/model"]) == 2
    assert "did not pass" in capsys.readouterr().err
    assert hub.requests == []
