"""How a cell's run is heard of, and how it is ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from deployments.recipes import sample
from infra.contracts.specs.matrix import CellSpec
from infra.machine import processes
from infra.store import history
from tasks import evaluate_cell
from tasks.evaluate_cell import _here, _last_written
from tests.infra.made_runs import make_run


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


def test_a_cell_that_was_done_and_is_in_no_history_gets_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = make_run(tmp_path / "run", rows=20)
    page = tmp_path / "run" / "report.html"
    page.with_name("report.json").write_text(report.model_dump_json())
    monkeypatch.setattr(evaluate_cell, "finished_run", lambda *_: (report, page))
    cell = CellSpec(model="m", candidate=None, run=sample())
    assert evaluate_cell.evaluate_cell.fn(cell, tmp_path, deployed=False)
    assert history.had(report.run_id, tmp_path)


def test_a_cell_that_is_ended_may_end_its_engine_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted:
        def say(self, text: str) -> None:
            raise KeyboardInterrupt

    @contextmanager
    def interrupted() -> Iterator[Interrupted]:
        yield Interrupted()

    # As long as an engine has, and this cell takes longer than that.
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.2)
    cell = tmp_path / "cell"
    cell.write_text(
        "#!/bin/bash\ntrap 'sleep 0.8; echo told Prefect; exit' TERM\necho begun\n"
        "while :; do sleep 0.05; done\n"
    )
    cell.chmod(0o755)
    python = sys.executable
    monkeypatch.setattr(evaluate_cell, "reported_to_prefect", interrupted)
    monkeypatch.setattr(evaluate_cell.sys, "executable", str(cell))
    run = evaluate_cell.run_process

    def run_process(command: list[str], **given: object) -> int:
        monkeypatch.setattr(sys, "executable", python)  # what supervises it is Python all the same
        return run(command, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluate_cell, "run_process", run_process)
    with pytest.raises(KeyboardInterrupt):
        _here(CellSpec(model="m", candidate=None, run=sample()), tmp_path)
    (log,) = (tmp_path / "logs").iterdir()
    assert log.read_text().splitlines() == ["begun", "told Prefect"]
