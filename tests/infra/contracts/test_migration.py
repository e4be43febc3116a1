"""Documents of earlier versions become documents of this one, step by step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from infra.contracts.migration import migrated
from infra.contracts.records import Report
from infra.report.receipt.sealing import document_of
from infra.report.trend.alerts import _read
from infra.report.trend.changes import changes
from tests.infra.report.receipt.earlier import unpacked


def document(version: int, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((unpacked(version, folder) / "report.json").read_text())
    return found


@pytest.mark.parametrize("version", [1, 2])
def test_every_version_is_read(tmp_path: Path, version: int) -> None:
    told = document(version, tmp_path)
    before = json.dumps(told)
    report = Report.model_validate(told)
    assert json.dumps(told) == before, "the document itself is left alone"
    assert (report.schema_version, report.comparison.schema_version) == (3, 3)
    assert report.rules == version
    assert report.arms["baseline"].tasks["gsm8k"].metrics
    assert migrated(migrated(told)) == migrated(told)


@pytest.mark.parametrize(("status", "says"), [
    ("loss", "a loss on at least one task"), ("gain", "a gain"), ("no-loss-shown", "no loss"),
])  # fmt: skip
def test_what_was_held_against_no_margin_neither_passed_nor_failed(
    tmp_path: Path, status: str, says: str
) -> None:
    told = document(1, tmp_path)
    told["verdict"]["status"] = status
    verdict = Report.model_validate(told).verdict
    assert verdict.status == "INCONCLUSIVE"
    assert says in verdict.reasons[0]
    assert verdict.headline == told["verdict"]["headline"]


def test_a_newer_version_is_not_read(tmp_path: Path) -> None:
    told = document(2, tmp_path)
    with pytest.raises(ValidationError, match="schema_version"):
        Report.model_validate({**told, "schema_version": 4})


@pytest.mark.parametrize("version", [1, 2])
def test_earlier_runs_are_compared_with_as_they_read_today(tmp_path: Path, version: int) -> None:
    told = document(version, tmp_path)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(told))
    before = _read(path)
    assert before == document_of(Report.model_validate(told))
    assert changes(before, Report.model_validate(told)) == ()
