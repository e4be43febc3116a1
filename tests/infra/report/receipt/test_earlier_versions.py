"""Reports of earlier versions open and verify, by the rules of their time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployments.__main__ import main
from infra.contracts.records import Report
from infra.report import receipt
from infra.report.html import render
from infra.report.receipt.checks import Checked
from infra.report.receipt.sealing import Document
from tests.infra.report.receipt.earlier import resealed, unpacked

POOLED = {
    "tasks": ["gsm8k"], "rows": 24, "flip_rate": 0.0, "difference": 0.0, "low": 0.0, "high": 0.0,
    "confidence": 0.95, "bound": 0.0, "method": "none",
}  # fmt: skip


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return unpacked(2, tmp_path)


@pytest.fixture
def third(tmp_path: Path) -> Path:
    return unpacked(3, tmp_path)


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    return unpacked("3-stopped", tmp_path)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """Return a run of version 1, with the receipt that it would have had."""
    run = unpacked(1, tmp_path)
    rewrite(run, lambda document: None)
    return run


def rewrite(run: Path, change: Callable[[Document], Any]) -> None:
    """Change a report and seal it again, as somebody does who knows how."""
    path = run / "report.json"
    document = json.loads(path.read_text())
    change(document)
    files = [
        {"name": file.relative_to(run).as_posix(), "size": 0, "sha256": receipt_digest(file)}
        for file in sorted(run.rglob("*"))
        if file.is_file() and file != path
    ]
    document["receipt"] = {**(document.get("receipt") or {}), "files": files}
    path.write_text(json.dumps(resealed(document, run)))


def receipt_digest(path: Path) -> str:
    from infra.store.content import digest_file

    return digest_file(path).sha256


def read(run: Path) -> Report:
    return Report.model_validate_json((run / "report.json").read_text())


def found(run: Path) -> dict[str, Checked]:
    return {check.name: check for check in receipt.verify(run)}


def wrong(run: Path) -> dict[str, tuple[str, ...]]:
    return {name: check.wrong for name, check in found(run).items() if check.wrong}


def test_a_report_of_version_2_holds_by_the_rules_of_its_time(
    second: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wrong(second) == {}
    assert main(["verify", str(second)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "ok verdict PASS, made again" in said
    assert "by the rules of version 2, which wrote it" in said
    assert (
        "by today's rules guessing scores 36.7 % on letters_generative, exact_match,none, not 0.0 %"
        in said
    )
    assert "by today's rules it would be INCONCLUSIVE" in said
    assert "This report holds" in said


@pytest.mark.parametrize(("version", "rules", "status"), [
    (1, 1, "INCONCLUSIVE"), (2, 2, "PASS"), (3, 3, "INCONCLUSIVE"), ("3-stopped", 3, "FAIL"),
])  # fmt: skip
def test_it_is_read_as_one_of_this_version_and_keeps_its_rules(
    tmp_path: Path, version: int | str, rules: int, status: str
) -> None:
    report = read(unpacked(version, tmp_path))
    assert (report.schema_version, report.rules, report.verdict.status) == (4, rules, status)
    assert [*report.arms] == ["baseline", "quantized"]
    [pair] = report.pairs
    assert (pair.name, pair.verdict) == ("quantized", report.verdict)
    assert Report.model_validate_json(report.model_dump_json()) == report


@pytest.mark.parametrize("version", [2, 3, "3-stopped"])
def test_written_again_as_one_of_this_version_it_holds(tmp_path: Path, version: int | str) -> None:
    run = unpacked(version, tmp_path)
    rewritten = read(run).model_dump(mode="json", exclude={"receipt"})
    rewrite(run, lambda document: (document.clear(), document.update(rewritten)))
    assert json.loads((run / "report.json").read_text())["schema_version"] == 4
    assert wrong(run) == {}


@pytest.mark.parametrize("version", [1, 2, 3, "3-stopped"])
def test_it_opens_as_a_page(tmp_path: Path, version: int | str) -> None:
    run = unpacked(version, tmp_path)
    report = read(run)
    page = render(report, run)
    assert report.run_id in page
    assert report.arms["quantized"].checkpoint.digest in page
    assert f'class="verdict {report.verdict.status}"' in page


@pytest.mark.parametrize(("change", "check", "named"), [
    (lambda d: d["comparison"]["metrics"][0].update(low=-0.01), "comparison", "metrics[0].low is"),
    (lambda d: d["comparison"]["metrics"][-1].update(chance=0.1), "comparison", ".chance is 0.1"),
    (lambda d: d["comparison"]["metrics"][-1].update(unit="value"), "comparison", ".unit is 'val"),
    (lambda d: d["comparison"]["pooled"].update(bound=-0.01), "comparison", "pooled.bound is"),
    (lambda d: d["arms"]["base"]["tasks"]["gsm8k"]["metrics"]["exact_match,strict-match"].update(
        value=0.99), "scores", "value is 0.99"),
    (lambda d: d["verdict"].update(status="FAIL"), "verdict", "verdict.status is 'FAIL'"),
    (lambda d: d["verdict"].update(margin_points=9.0), "verdict", "the margin is 9 points (wide"),
    (lambda d: d["verdict"].update(widened_from_points=None), "verdict", "the margin is 5.1 p"),
    (lambda d: d["power"].update(smallest_margin_points=8.95), "verdict",
     "power.smallest_margin_points is 8.95"),
    (lambda d: d["power"]["tasks"]["gsm8k"].update(rows=6), "verdict", "rows is 6, but 60 were"),
    (lambda d: d["verdict"].update(headline="PASS: it gains 7.7 points."), "verdict",
     "verdict.headline tells 7.7, which follows from nothing stored"),
    (lambda d: d["verdict"].update(headline="All is well."), "verdict", "does not begin with PASS"),
])  # fmt: skip
def test_a_number_that_was_changed_in_it_is_found(
    second: Path, change: Callable[[Document], Any], check: str, named: str
) -> None:
    rewrite(second, change)
    mismatches = wrong(second)
    assert any(named in line for line in mismatches[check]), mismatches
    assert not {"seal", "values", "files", "rows"} & set(mismatches)


def test_the_rules_of_version_1_are_for_version_1_alone(second: Path) -> None:
    """They leave the intervals as they are written."""
    rewrite(second, lambda document: document.update(schema_version=3, rules=1))
    assert wrong(second)["report"]
    rewrite(second, lambda d: d["comparison"].update(schema_version=3))
    assert wrong(second)["report"] == (
        "rules is 1, which no report of another version than 1 was judged by",
    )


def test_reports_of_version_3_hold(third: Path, stopped: Path) -> None:
    """Nothing of their rules has changed since, so nothing is noted of them but other words."""
    for run in (third, stopped):
        assert wrong(run) == {}
        notes = " ".join(note for check in found(run).values() for note in check.notes)
        assert "rules" not in notes
        # That a run was stopped early is said in another way by now.
        assert ("verdict.reasons is worded in another way" in notes) is (run == stopped)
        assert "headline is worded" not in notes
        assert main(["verify", str(run)]) == 0


def test_no_record_of_version_3_is_lost(third: Path) -> None:
    written = json.loads((third / "report.json").read_text())
    report = read(third)
    [pair] = report.pairs
    assert pair.candidate.checkpoint.calibration is not None
    assert (
        pair.candidate.checkpoint.calibration.fingerprint == written["calibration"]["fingerprint"]
    )
    assert pair.baseline.checkpoint.calibration is None
    assert pair.judgement.overlap is not None
    assert pair.judgement.overlap.found == written["overlap"]["found"]
    assert pair.judgement.alert is not None
    assert pair.judgement.alert.good_run == written["alert"]["good_run"]
    compared, before = pair.comparison, written["comparison"]
    assert compared.fidelity is not None
    assert compared.fidelity.perplexity_baseline == before["fidelity"]["perplexity_base"]
    assert compared.fidelity.perplexity_candidate == before["fidelity"]["perplexity_quantized"]
    lengths = compared.lengths["gsm8k"]
    assert lengths["baseline"].tokens_mean == before["lengths"]["gsm8k"]["base"]["tokens_mean"]
    assert (
        lengths["candidate"].tokens_mean == before["lengths"]["gsm8k"]["quantized"]["tokens_mean"]
    )
    for metric, earlier in zip(compared.metrics, before["metrics"], strict=True):
        assert metric.baseline.value == earlier["base"]["value"]
        assert metric.candidate.value == earlier["quantized"]["value"]
    assert report.spec.baseline.model.id == written["spec"]["model"]["id"]
    assert pair.arm.quantization is not None
    assert pair.arm.quantization.group_size == written["spec"]["quantization"]["group_size"]
    assert pair.arm.serving.model_dump(mode="json").items() >= written["spec"]["serving"].items()
    assert report.spec.verdict.gate == "all"
    places = {arm.checkpoint.model for arm in report.arms.values()}
    assert places == {written["spec"]["model"]["id"]}
    group = "global_mmlu_en"
    for arm, name in (("baseline", "base"), ("quantized", "quantized")):
        scores, earlier = report.arms[arm].tasks[group], written["arms"][name]["tasks"][group]
        assert scores.questions == earlier["exam"]
        assert {name: part.questions for name, part in scores.subtasks.items()} == {
            name: part["exam"] for name, part in earlier["subtasks"].items()
        }


@pytest.mark.parametrize(("change", "check", "named"), [
    (lambda d: d["comparison"]["metrics"][0].update(low=-0.01), "comparison", "metrics[0].low is"),
    (lambda d: d["comparison"]["metrics"][0].update(p_adjusted=0.5), "comparison", ".p_adjusted"),
    (lambda d: d["comparison"]["metrics"][0]["quantized"].update(value=0.99), "comparison",
     "metrics[0].candidate.value is 0.99"),
    (lambda d: d["comparison"]["noise"]["tasks"]["gsm8k"].update(changed=0), "comparison",
     "noise.tasks.gsm8k.changed is 0"),
    (lambda d: d["comparison"]["fidelity"].update(kl_mean=0.0), "comparison",
     "fidelity.kl_mean is 0.0"),
    (lambda d: d["comparison"]["fidelity"].update(perplexity_quantized=1.0), "comparison",
     "fidelity.perplexity_candidate is 1.0"),
    (lambda d: d["arms"]["base"]["tasks"]["gsm8k"].update(exam="0" * 64), "scores",
     "arms.baseline.tasks.gsm8k.questions is not"),
    (lambda d: d["arms"]["quantized"]["tasks"]["gsm8k"]["metrics"]["exact_match,strict-match"]
     .update(value=0.99), "scores", "arms.quantized.tasks.gsm8k.metrics"),
    (lambda d: d["arms"]["base"]["checkpoint"].update(digest="0" * 64), "checkpoints",
     "arms.baseline.checkpoint.digest is not that of the files in weights.json"),
    (lambda d: d["arms"]["quantized"]["checkpoint"].update(size_bytes=1), "checkpoints",
     "arms.quantized.checkpoint.size_bytes is 1, in checkpoint.json"),
    (lambda d: d["verdict"].update(status="PASS"), "verdict", "verdict.status is 'PASS'"),
    (lambda d: d["verdict"].update(margin_points=9.0), "verdict", "the margin is 9 points (wide"),
    (lambda d: d["power"]["tasks"]["gsm8k"].update(rows=6), "verdict", "rows is 6, but 48 were"),
])  # fmt: skip
def test_a_number_that_was_changed_in_version_3_is_found(
    third: Path, change: Callable[[Document], Any], check: str, named: str
) -> None:
    rewrite(third, change)
    mismatches = wrong(third)
    assert any(named in line for line in mismatches[check]), mismatches
    assert not {"seal", "values", "files", "rows"} & set(mismatches)


@pytest.mark.parametrize(("change", "check", "named"), [
    (lambda d: d["comparison"]["pooled"].update(bound=-0.001), "comparison", "pooled.bound is"),
    (lambda d: d["verdict"].update(stopped_after=None), "verdict", "verdict.stopped_after is"),
    (lambda d: d["verdict"].update(stopped_after=450), "verdict", "verdict.stopped_after is 450"),
    (lambda d: d["spec"]["verdict"].update(early_stop=False), "comparison", "pooled.low is"),
    (lambda d: d["verdict"].update(
        reasons=[reason.replace("450", "999") for reason in d["verdict"]["reasons"]]), "verdict",
     "verdict.reasons tells 999"),
])  # fmt: skip
def test_a_number_that_was_changed_in_a_stopped_run_is_found(
    stopped: Path, change: Callable[[Document], Any], check: str, named: str
) -> None:
    rewrite(stopped, change)
    mismatches = wrong(stopped)
    assert any(named in line for line in mismatches[check]), mismatches
    assert not {"seal", "values", "files", "rows"} & set(mismatches)


def test_words_may_differ(second: Path) -> None:
    rewrite(second, lambda d: d["verdict"].update(headline="PASS: all is well.", reasons=[]))
    assert wrong(second) == {}
    assert "verdict.headline is worded in another way than by this version" in " ".join(
        found(second)["verdict"].notes
    )


def test_a_report_of_version_1_was_not_altered(first: Path) -> None:
    assert json.loads((first / "report.json").read_text())["schema_version"] == 1
    assert wrong(first) == {}
    checks = found(first)
    assert "version 1, which wrote it" in " ".join(checks["comparison"].notes)
    assert "before there were margins" in " ".join(checks["verdict"].notes)
    report = read(first)
    assert (report.rules, report.verdict.status) == (1, "INCONCLUSIVE")
    assert "a loss on at least one task was shown" in report.verdict.reasons[0]
    assert report.verdict.headline.startswith("4-bit AWQ costs 45.8 points on gsm8k")


@pytest.mark.parametrize(("change", "check", "named"), [
    (lambda d: d["comparison"]["metrics"][0].update(difference=-0.1), "comparison", ".difference"),
    (lambda d: d["comparison"]["metrics"][0].update(lost=1), "comparison", "metrics[0].lost is 1"),
    (lambda d: d["comparison"]["metrics"][0].update(unit="value"), "comparison", ".unit is"),
    (lambda d: d["comparison"]["metrics"].pop(), "comparison", "comparison.metrics is"),
    (lambda d: d["arms"]["base"]["tasks"]["gsm8k"].update(n=23), "scores", "n is 23"),
    (lambda d: d["verdict"].update(status="PASS", margin_points=1.0), "verdict", "knew not"),
    (lambda d: d["comparison"].update(pooled=POOLED), "comparison", "comparison.pooled is"),
])  # fmt: skip
def test_a_number_that_was_changed_in_version_1_is_found(
    first: Path, change: Callable[[Document], Any], check: str, named: str
) -> None:
    rewrite(first, change)
    assert any(named in line for line in wrong(first)[check])


def test_without_a_receipt_there_is_nothing_to_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(unpacked(1, tmp_path))]) == 2
    assert "before there were receipts" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("field", ["arms", "comparison", "spec", "verdict"])
def test_what_is_no_report_of_its_version_is_named(third: Path, field: str) -> None:
    rewrite(third, lambda document: document.update({field: 3}))
    assert wrong(third)["report"]


@pytest.mark.parametrize("version", [0, 5, 99, "2", None, [2]])
def test_a_version_that_there_is_not_is_named(second: Path, version: object) -> None:
    rewrite(second, lambda document: document.update(schema_version=version))
    assert wrong(second)["report"][0].startswith("schema_version: ")
