"""A matrix on a Prefect server: workers carry out the cells, side by side, each once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.records.matrix import MatrixReport
from infra.contracts.specs import MatrixSpec
from infra.stages.run_key import run_key
from infra.store.settings import Settings
from tasks.evaluate_cell import _tag
from tests import small_matrix
from tests.chaos.world import await_that
from tests.prefect_server import DATABASE, PREFECT, ROOT, Databases, Prefect, prefect_server

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
        running.terminate()
        try:
            running.wait(60)
        except subprocess.TimeoutExpired:  # it ends itself by SIGINT, which a shell may ignore
            running.kill()
            running.wait(60)


def named_by_a_profile(prefect: Prefect, home: Path) -> dict[str, str]:
    """Return the variables of a user whose active profile names the server."""
    home.mkdir()
    profile = f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{prefect.url}"\n'
    (home / "profiles.toml").write_text(profile)
    variables = {k: v for k, v in prefect.env.items() if k != "PREFECT_API_URL"}
    return variables | {"PREFECT_HOME": str(home)}


def leave_dead(prefect: Prefect, spec: MatrixSpec, cache: Path) -> str:
    """Leave the run of a cell as a worker does that is killed: it runs for ever."""
    key = run_key(spec.cells[0].run, Settings(cache=cache))
    assert key is not None
    (deployment,) = prefect.read(
        "deployments/filter", deployments={"name": {"any_": ["candidates"]}}
    )
    run = prefect.read(f"deployments/{deployment['id']}/create_flow_run", tags=[_tag(key)])
    state = {"type": "RUNNING", "name": "Running"}
    prefect.read(f"flow_runs/{run['id']}/set_state", state=state, force=True)
    return str(run["id"])


def crash(prefect: Prefect, run: str) -> None:
    """Do what the automation of lost runs does."""
    state = {"type": "CRASHED", "name": "Crashed"}
    prefect.read(f"flow_runs/{run}/set_state", state=state, force=True)


def cells_of(prefect: Prefect, *dead: str) -> list[dict[str, Any]]:
    """Return the runs of cells but for dead ones."""
    flow = {"name": {"any_": ["evaluate-candidates"]}}
    found = prefect.read("flow_runs/filter", flows=flow, sort="START_TIME_ASC")
    return [run for run in found if run["id"] not in dead]


def states(prefect: Prefect, *dead: str) -> list[str]:
    return [str(cell["state_type"]) for cell in cells_of(prefect, *dead)]


def wait_for(what: str, prefect: Prefect, reached: Any, seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, (
            what, *[log.read_text()[-3000:] for log in prefect.home.glob("*.log")]
        )  # fmt: skip
        time.sleep(0.5)


def test_cells_run_side_by_side_and_a_matrix_that_was_killed_starts_none_twice(
    own_cache: Path, prefect_databases: Databases, tmp_path: Path
) -> None:
    spec = small_matrix.make(tmp_path)
    home = tmp_path / "prefect"
    home.mkdir()
    with (
        prefect_server(home, database=prefect_databases.registered) as prefect,
        ExitStack() as workers,
    ):
        prefect.env |= {"ASSAY_CACHE": str(own_cache), "CUDA_VISIBLE_DEVICES": "-1"}
        (home / "matrix.json").write_text(spec.model_dump_json())
        dead = leave_dead(prefect, spec, own_cache)
        command = [str(PREFECT.with_name("python")), "-m", "deployments", "run"]

        def start(env: dict[str, str]) -> subprocess.Popen[bytes]:
            with (home / "matrix.log").open("ab") as log:
                started = subprocess.Popen(
                    [*command, str(home / "matrix.json")], cwd=ROOT, env=env,
                    stdout=log, stderr=subprocess.STDOUT,
                )  # fmt: skip
            # Last first: whatever fails here, no process is left to a test that counts its own.
            workers.callback(started.wait)
            workers.callback(started.kill)
            return started

        killed = start(prefect.env)
        wait_for("cells", prefect, lambda: len(cells_of(prefect, dead)) == 2)
        lost = cells_of(prefect, dead)[0]["id"]
        crash(prefect, lost)
        wait_for("another worker's turn", prefect, lambda: len(cells_of(prefect, dead)) == 3)
        killed.send_signal(signal.SIGKILL)
        killed.wait(60)
        second = start(named_by_a_profile(prefect, tmp_path / "user"))
        # Neither ends before both run, however long a worker takes to come.
        held = tmp_path / "python.held"
        held.touch()
        for name in ("one", "two"):
            workers.enter_context(worker(prefect, name))
        wait_for("both at once", prefect, lambda: states(prefect, dead, lost) == ["RUNNING"] * 2)
        held.unlink()
        wait_for("the end", prefect, lambda: second.poll() is not None)
        log = (home / "matrix.log").read_text()
        assert second.returncode == 0, log
        assert states(prefect, dead, lost) == ["COMPLETED"] * 2, log
    report = MatrixReport.model_validate_json(
        (tmp_path / "runs" / "small-matrix" / "matrix.json").read_text()
    )
    assert [(row.model, row.arm) for row in report.rows] == [
        ("sample", "baseline"), ("sample", "other"), ("sample-awq", "baseline")
    ]  # fmt: skip
    assert (report.failed, report.waiting) == ({}, ())
    assert len(list((tmp_path / "runs").glob("small-2*"))) == 2


def test_no_worker_is_waited_for_that_asks_another_server(
    own_cache: Path, prefect_databases: Databases, tmp_path: Path
) -> None:
    """Of a database that was used before, the server that a run brings along knows deployments."""
    spec = tmp_path / "matrix.json"
    spec.write_text(small_matrix.make(tmp_path).model_dump_json())
    home = tmp_path / "prefect"
    home.mkdir()
    shutil.copy(prefect_databases.registered, home / DATABASE)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    env |= {"PREFECT_HOME": str(home), "DO_NOT_TRACK": "1", "CUDA_VISIBLE_DEVICES": "-1"}
    log = home / "matrix.log"
    with log.open("wb") as output, subprocess.Popen(
        [str(PREFECT.with_name("python")), "-m", "deployments", "run", str(spec)], cwd=ROOT,
        env=env | {"ASSAY_CACHE": str(own_cache)}, stdout=output, stderr=subprocess.STDOUT,
    ) as run:  # fmt: skip
        try:
            begun = tmp_path / "runs" / "small-matrix" / "cells"
            await_that(lambda: begun.exists() or run.poll() is not None, 120, "a cell that runs")
            assert run.poll() is None, log.read_text()
        finally:
            run.terminate()
            with suppress(subprocess.TimeoutExpired):
                run.wait(30)
            run.kill()  # one that waits for a worker goes on waiting
