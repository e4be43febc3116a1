"""Documents of earlier versions become documents of this one, step by step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from infra.contracts.migration import migrated, migrated_arm
from infra.contracts.records import ArmResult, Report
from infra.report.receipt.sealing import document_of
from infra.report.trend.alerts import _read
from infra.report.trend.changes import changes
from tests.infra.report.receipt.earlier import unpacked

VERSIONS = [1, 2, 3, "3-stopped"]


def document(version: int | str, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((unpacked(version, folder) / "report.json").read_text())
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_read(tmp_path: Path, version: int | str) -> None:
    written = document(version, tmp_path)
    before = json.dumps(written)
    report = Report.model_validate(written)
    assert json.dumps(written) == before, "the document itself is left alone"
    [pair] = report.pairs
    assert (report.schema_version, pair.comparison.schema_version) == (4, 4)
    assert report.rules == written["schema_version"] == int(str(version)[0])
    assert (pair.name, pair.verdict) == ("quantized", report.verdict)
    assert pair.arm.quantization == pair.change.quantization
    for arm, earlier in (("baseline", "base"), ("quantized", "quantized")):
        for name, task in report.arms[arm].tasks.items():
            assert task.questions == written["arms"][earlier]["tasks"][name]["exam"]
    assert migrated(migrated(written)) == migrated(written)


@pytest.mark.parametrize(("status", "says"), [
    ("loss", "a loss on at least one task"), ("gain", "a gain"), ("no-loss-shown", "no loss"),
])  # fmt: skip
def test_what_was_held_against_no_margin_neither_passed_nor_failed(
    tmp_path: Path, status: str, says: str
) -> None:
    written = document(1, tmp_path)
    written["verdict"]["status"] = status
    report = Report.model_validate(written)
    [pair] = report.pairs
    for verdict in (report.verdict, pair.verdict):
        assert verdict.status == "INCONCLUSIVE"
        assert says in verdict.reasons[0]
        assert verdict.headline == written["verdict"]["headline"]


def test_a_newer_version_is_not_read(tmp_path: Path) -> None:
    written = document(2, tmp_path)
    with pytest.raises(ValidationError, match="schema_version"):
        Report.model_validate({**written, "schema_version": 5})


def test_the_rules_are_those_of_the_version_that_wrote_it(tmp_path: Path) -> None:
    """Also where a report of version 2 was written again as one of version 3."""
    written = document(3, tmp_path)
    assert Report.model_validate({**written, "rules": 2}).rules == 2
    del written["rules"]
    assert Report.model_validate(written).rules == 3


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("broken", [None, 3, "text", ["text"], {"text": 3}])
@pytest.mark.parametrize("field", ["arms", "comparison", "spec", "verdict", "calibration"])
def test_a_broken_report_is_refused_as_one(
    tmp_path: Path, version: int | str, field: str, broken: object
) -> None:
    """By the error that says so, whatever somebody made of it."""
    written = document(version, tmp_path)
    if (field, broken) == ("calibration", None):
        assert Report.model_validate({**written, field: None}).pairs
        return
    with pytest.raises(ValidationError):
        Report.model_validate({**written, field: broken})


def test_a_report_that_lacks_nearly_everything_is_refused_as_one() -> None:
    """Also where its calibration is there, and no checkpoint that it is of."""
    with pytest.raises(ValidationError):
        Report.model_validate({"schema_version": 3, "calibration": {"rows": 1}})


@pytest.mark.parametrize("version", VERSIONS)
def test_earlier_runs_are_compared_with_as_they_read_today(
    tmp_path: Path, version: int | str
) -> None:
    written = document(version, tmp_path)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(written))
    before = _read(path)
    assert before == document_of(Report.model_validate(written))
    assert changes(before, Report.model_validate(written)) == ()


def test_the_record_of_one_arm_is_read_as_a_run_kept_it(tmp_path: Path) -> None:
    """As the noise floor and a run that was stopped early need it."""
    run = unpacked(3, tmp_path)
    kept = json.loads((run / "arm-base.json").read_text())
    found = ArmResult.model_validate(migrated_arm(kept))
    report = Report.model_validate_json((run / "report.json").read_text())
    assert found.tasks == report.baseline.tasks
    assert ArmResult.model_validate(migrated_arm(found.model_dump(mode="json"))) == found
