"""A finished run for other people's pipelines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.contracts.errors import ReceiptError
from infra.report import write
from infra.report.export import FORMATS, document_of
from tests.infra.made_runs import make_run
from tests.infra.report.receipt.earlier import resealed, unpacked


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "sample-1"
    folder.mkdir()
    write(make_run(folder, rows=40), folder=folder)
    return folder


def test_the_export_is_the_file_beside_the_report(run: Path) -> None:
    beside = (run / "verdict.json").read_text(encoding="utf-8")
    for path in (run, run / "report.json"):
        assert FORMATS["verdict"](document_of(path)) == beside


@pytest.mark.parametrize("version", [2, 3, "3-stopped"])
def test_runs_of_earlier_versions_can_be_exported(version: int | str, tmp_path: Path) -> None:
    run = unpacked(version, tmp_path)
    for form in FORMATS.values():
        assert form(document_of(run))


def test_a_run_that_was_touched_since_is_not_exported(run: Path) -> None:
    """Whoever edits the verdict must not get it into a pipeline."""
    for name, old, new in (
        ("report.json", '"status": "', '"status":  "'),  # as it was: only spaces
        ("verdict.json", "INCONCLUSIVE", "PASS"),
        ("samples/quantized/gsm8k.jsonl", '"truncated": false', '"truncated": true'),
    ):
        text = (run / name).read_text(encoding="utf-8")
        (run / name).write_text(text.replace(old, new, 1), encoding="utf-8")
        if name == "report.json":
            assert document_of(run)
        else:
            with pytest.raises(ReceiptError, match=f"{name}.* was changed"):
                document_of(run)
        (run / name).write_text(text, encoding="utf-8")
    document = json.loads((run / "report.json").read_text(encoding="utf-8"))
    document["verdict"]["status"] = "PASS"
    (run / "report.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ReceiptError, match=r"receipt\.seal|verdict\.status was changed"):
        document_of(run)


def test_a_report_of_another_version_says_what_it_has_more(run: Path) -> None:
    document = json.loads((run / "report.json").read_text(encoding="utf-8"))
    document["spec"]["results"]["later"] = True
    (run / "report.json").write_text(json.dumps(resealed(document, run)), encoding="utf-8")
    with pytest.raises(ReceiptError, match="does not read as a report of this version") as error:
        document_of(run)
    assert "spec.results.later: Extra inputs" in error.value.cause


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReceiptError, match="cannot be read"):
        document_of(tmp_path)
    (tmp_path / "report.json").write_text("[]")
    with pytest.raises(ReceiptError, match="holds no receipt"):
        document_of(tmp_path / "report.json")
