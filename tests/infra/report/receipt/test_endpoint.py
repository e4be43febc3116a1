"""The report of an endpoint can be checked, and whatever is changed in it is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployments.__main__ import main
from infra.contracts.errors import ReceiptError
from infra.contracts.records import EndpointReport
from infra.judging.power import plan
from infra.report import endpoint as report
from infra.report import receipt
from infra.report.receipt.sealing import Document
from tests.infra.made_endpoints import make_endpoint_run

GSM8K = "samples/quantized/gsm8k.jsonl"
BASELINE = "samples/baseline/gsm8k.jsonl"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "endpoint-1"
    folder.mkdir()
    report.write(make_endpoint_run(folder), folder=folder)
    return folder


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "endpoint-1"))


def wrong(run: Path, **options: Any) -> dict[str, tuple[str, ...]]:
    return {check.name: check.wrong for check in receipt.verify(run, **options) if check.wrong}


def document_of(run: Path) -> Document:
    found: Document = json.loads((run / "report.json").read_text())
    return found


def sealed_again(run: Path, change: Callable[[Document], Any]) -> None:
    """Do what somebody does who knows how."""
    document = document_of(run)
    change(document)
    sealed = receipt.sealed(EndpointReport.model_validate(document), run)
    (run / "report.json").write_text(sealed.model_dump_json())


def edit_row(run: Path, name: str, change: Callable[[Document], Any]) -> None:
    lines = (run / name).read_text().splitlines()
    row = json.loads(lines[0])
    change(row)
    (run / name).write_text("".join(f"{line}\n" for line in [json.dumps(row), *lines[1:]]))


def flipped(row: Document) -> None:
    row["metrics"] = {metric: 1 - value for metric, value in row["metrics"].items()}


def test_it_holds(original: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(original / "report.json"), "--seal", receipt.seal_of(original)]) == 0
    said = capsys.readouterr().out
    names = ["seal", "values", "files", "rows", "scores", "intervals", "comparison", "verdict"]
    assert [check.name for check in receipt.verify(original)] == [*names, "endpoint"]
    assert "This report holds; 9 things checked." in said
    assert "the user's word" in " ".join(said.split())


def test_one_without_a_baseline_holds(tmp_path: Path) -> None:
    report.write(make_endpoint_run(tmp_path, baseline=False), folder=tmp_path)
    assert wrong(tmp_path) == {}
    assert "verdict" not in [check.name for check in receipt.verify(tmp_path)]


@pytest.mark.parametrize("name", [GSM8K, BASELINE])
def test_a_row_that_was_changed_is_named(name: str, run: Path) -> None:
    edit_row(run, name, flipped)
    found = wrong(run)
    assert found.keys() >= {"files", "rows", "scores"}
    assert found["rows"][0].startswith(f"{name} line 1 was changed (gsm8k, document ")
    assert "seal" not in found


def judged(document: Document) -> Document:
    found: Document = document["judged"]
    return found


@pytest.mark.parametrize(
    ("change", "check", "says"),
    [
        (lambda d: d["tasks"]["gsm8k"]["metrics"]["exact_match,strict-match"]
         .update(value=0.99), "scores", "exact_match,strict-match.value is 0.99"),
        (lambda d: judged(d)["baseline"]["tasks"]["gsm8k"]["metrics"]["exact_match,strict-match"]
         .update(value=0.01), "scores", "judged.baseline.tasks.gsm8k"),
        (lambda d: d["intervals"]["gsm8k"].update(low=0.9), "intervals", "intervals.gsm8k.low"),
        (lambda d: d["intervals"].pop("gsm8k"), "intervals", "intervals.gsm8k"),
        (lambda d: judged(d)["comparison"]["pooled"].update(bound=0.0), "comparison",
         "judged.comparison.pooled.bound"),
        (lambda d: judged(d)["comparison"]["metrics"][0].update(lost=0), "comparison",
         "judged.comparison.metrics[0].lost"),
        (lambda d: judged(d)["verdict"].update(status="PASS"), "verdict", "judged.verdict.status"),
        (lambda d: judged(d)["verdict"].update(margin_points=60.0), "verdict", "the margin is 60"),
        (lambda d: d["spec"]["verdict"].update(margin_points=60.0, task_margin_points=60.0),
         "verdict", "the margin is"),
        (lambda d: d.update(judged=None), "report", "judged is missing"),
        (lambda d: d["spec"].update(baseline=None), "report", "spec.baseline names nothing"),
    ],
)  # fmt: skip
def test_what_does_not_follow_is_named_though_it_was_sealed_again(
    change: Callable[[Document], Any], check: str, says: str, run: Path
) -> None:
    before = receipt.seal_of(run)
    sealed_again(run, change)
    found = wrong(run)
    assert any(says in text for text in found[check]), found
    assert not found.keys() & {"seal", "values", "files", "rows"}
    assert "sealed again" in wrong(run, seal=before)["seal"][0]


def test_a_margin_that_follows_from_no_plan_is_named(run: Path) -> None:
    spec = EndpointReport.model_validate(document_of(run)).spec.verdict
    (run / "plan.json").write_text(plan({"gsm8k": 60}, spec).model_dump_json())
    sealed_again(run, lambda document: None)
    assert any("power" in text for text in wrong(run)["verdict"])


def test_what_is_no_report_of_an_endpoint_says_so(run: Path) -> None:
    document = document_of(run)
    del document["tasks"]
    (run / "report.json").write_text(json.dumps(document))
    assert wrong(run)["report"] == ("tasks: Field required",)
    del document["receipt"]
    (run / "report.json").write_text(json.dumps(document))
    with pytest.raises(ReceiptError, match="holds no receipt"):
        receipt.verify(run)


def test_a_run_to_be_judged_by_is_refused_once_changed(run: Path) -> None:
    receipt.require_as_sealed(run)
    edit_row(run, GSM8K, flipped)
    with pytest.raises(ReceiptError, match="line 1 was changed"):
        receipt.require_as_sealed(run)
    shutil.rmtree(run / "samples")
    with pytest.raises(ReceiptError, match="missing, with all its rows"):
        receipt.require_as_sealed(run)
