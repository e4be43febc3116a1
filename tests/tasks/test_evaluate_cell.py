"""Whether a cell's run that others carry out still does anything."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from deployments.recipes import sample
from infra.contracts.specs.matrix import CellSpec
from tasks import evaluate_cell
from tasks.evaluate_cell import _last_written


def test_a_run_is_heard_by_the_newest_file_of_its_folder_whatever_is_removed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ASSAY_RUNS", str(tmp_path / "runs"))
    cell = CellSpec(model="m", candidate=None, run=sample())
    run = FlowRun(id=uuid4(), flow_id=uuid4())
    assert _last_written(cell, run) == 0
    folder = tmp_path / "runs" / f"sample-20260101-000000-{str(run.id)[:8]}"
    other = tmp_path / "runs" / "sample-20260101-000000-00000000"
    for file, seconds in (
        (folder / "spec.json", 100),
        (folder / "logs" / "server.log", 300),
        (folder / "logs" / "partial", 400),
        (other / "spec.json", 500),
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
        os.utime(file, (seconds, seconds))
    written_ns = evaluate_cell.written_ns

    def removed(path: Path) -> int:
        if path.name == "partial":
            path.unlink()
        return written_ns(path)

    monkeypatch.setattr(evaluate_cell, "written_ns", removed)
    assert _last_written(cell, run) == 300
