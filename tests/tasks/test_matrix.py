"""A matrix in this process: each cell a run of its own."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from deployments.families import sample_family
from flows.evaluate_models import evaluate_models
from infra import ENVIRONMENT
from infra.contracts.records.matrix import MatrixReport
from infra.contracts.specs import MatrixSpec
from tasks.matrix import turns
from tests import small_matrix
from tests.api_proxy import ApiProxy
from tests.conftest import ROOT

pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # recipes name folders of the project
    monkeypatch.setenv("ASSAY_CACHE", str(own_cache))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.setitem(ENVIRONMENT, "CUDA_VISIBLE_DEVICES", "-1")


def carry_out(spec: MatrixSpec) -> tuple[MatrixReport, Path]:
    given: dict[str, Any] = {name: getattr(spec, name) for name in MatrixSpec.model_fields}
    lists = {name: list(given[name]) for name in ("models", "candidates")}
    page = evaluate_models(**given | lists, where="here")
    report = MatrixReport.model_validate_json(page.with_name("matrix.json").read_text())
    return report, page.parent


def test_one_cell_that_fails_sinks_no_other_and_is_done_by_the_next_start(
    tmp_path: Path, losing_ends: ApiProxy
) -> None:
    spec = small_matrix.make(tmp_path, burnt=True)
    first, folder = carry_out(spec)
    assert list(first.failed) == ["sample/other"]
    assert "exit code 3" in first.failed["sample/other"]
    assert (folder / "logs" / "sample-other.log").is_file()
    assert [(row.model, row.arm) for row in first.rows] == [("sample-awq", "baseline")]
    assert first.waiting == ()
    page = (folder / "matrix.html").read_text()
    assert "exit code 3" in page

    (tmp_path / "other.fuse").unlink()  # mended
    second, _ = carry_out(spec)
    assert len(losing_ends.lost) == 2  # of a matrix's end: its page is known all the same
    assert second.failed == {}
    assert [(row.model, row.arm) for row in second.rows] == [
        ("sample", "baseline"), ("sample", "other"), ("sample-awq", "baseline")
    ]  # fmt: skip
    assert second.rows[2].report == first.rows[0].report  # taken as it was
    baseline = json.loads((tmp_path / "runs" / second.rows[0].report).with_name(
        "report.json").read_text())["arms"]["baseline"]  # fmt: skip
    assert baseline["tasks"]["gsm8k"]["reused"]  # answered before the candidate failed
    table = list(csv.DictReader((folder / "matrix.csv").read_text().splitlines()))
    assert [row["arm"] for row in table] == ["baseline", "other", "baseline"]
    assert table[1]["verdict"] == second.rows[1].status == "INCONCLUSIVE"  # an engine that guesses
    assert float(table[0]["gsm8k"]) == second.rows[0].scores["gsm8k"].value.value


def test_one_cell_of_each_model_comes_before_the_second_of_any() -> None:
    cells = sample_family().cells
    assert [cell.model for cell in cells] == ["sample", "sample", "sample-awq"]
    assert turns(cells) == [0, 1, 0]
