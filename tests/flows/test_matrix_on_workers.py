"""A matrix on a Prefect server: workers carry out the cells, side by side, each once."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.records.matrix import MatrixReport
from tests import small_matrix
from tests.prefect_server import PREFECT, ROOT, Prefect, prefect_server

pytestmark = pytest.mark.e2e


@contextmanager
def worker(prefect: Prefect, name: str) -> Iterator[None]:
    """Run a worker that carries out one run at a time."""
    command = [str(PREFECT), "worker", "start", "--pool", "assay", "--limit", "1", "--name", name]
    with (prefect.home / f"{name}.log").open("wb") as log:
        running = subprocess.Popen(
            command, cwd=ROOT, env=prefect.env, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(120)


def runs_of(prefect: Prefect, flow: str) -> list[dict[str, Any]]:
    found = prefect.read(
        "flow_runs/filter", flows={"name": {"any_": [flow]}}, sort="START_TIME_ASC"
    )
    return list(found)


def wait_for(what: str, prefect: Prefect, reached: Any, seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, (
            what, *[log.read_text()[-3000:] for log in prefect.home.glob("*.log")]
        )  # fmt: skip
        time.sleep(0.5)


def test_cells_run_side_by_side_and_a_matrix_that_was_killed_starts_none_twice(
    own_cache: Path, tmp_path: Path
) -> None:
    spec = small_matrix.make(tmp_path)
    home = tmp_path / "prefect"
    home.mkdir()
    with prefect_server(home) as prefect, ExitStack() as workers:
        prefect.env |= {"ASSAY_CACHE": str(own_cache), "CUDA_VISIBLE_DEVICES": "-1"}
        prefect.call("work-pool", "create", "assay", "--type", "process")
        prefect.call("--no-prompt", "deploy", "--name", "candidates")
        (home / "matrix.json").write_text(spec.model_dump_json())
        command = [str(PREFECT.with_name("python")), "-m", "deployments", "run"]

        def start() -> subprocess.Popen[bytes]:
            with (home / "matrix.log").open("ab") as log:
                return subprocess.Popen(
                    [*command, str(home / "matrix.json")], cwd=ROOT, env=prefect.env,
                    stdout=log, stderr=subprocess.STDOUT,
                )  # fmt: skip

        killed = start()
        wait_for("cells", prefect, lambda: len(runs_of(prefect, "evaluate-candidates")) == 2)
        killed.send_signal(signal.SIGKILL)
        killed.wait(60)
        second = start()
        for name in ("one", "two"):
            workers.enter_context(worker(prefect, name))
        wait_for("the end", prefect, lambda: second.poll() is not None)
        log = (home / "matrix.log").read_text()
        assert second.returncode == 0, log
        cells = runs_of(prefect, "evaluate-candidates")
    assert [cell["state_type"] for cell in cells] == ["COMPLETED"] * 2, log
    # Both ran at once.
    assert max(cell["start_time"] for cell in cells) < min(cell["end_time"] for cell in cells)
    report = MatrixReport.model_validate_json(
        (tmp_path / "runs" / "small-matrix" / "matrix.json").read_text()
    )
    assert [(row.model, row.arm) for row in report.rows] == [
        ("sample", "baseline"), ("sample", "other"), ("sample-awq", "baseline")
    ]  # fmt: skip
    assert (report.failed, report.waiting) == ({}, ())
    assert len(list((tmp_path / "runs").glob("small-2*"))) == 2
