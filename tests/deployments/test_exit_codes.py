"""Exit code 2 is for what cannot run with nothing spent; what fails later is 1."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.contracts.errors import AssayError, PreflightError
from infra.preflight import refuse
from infra.preflight.findings import note, ok, problem
from tests.conftest import ROOT
from tests.prefect_server import DATABASE, Databases


def environment(tmp_path: Path, cache: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
        "ASSAY_CACHE": str(cache), "ASSAY_RUNS": str(tmp_path / "runs"),
        "ASSAY_LEASES": str(tmp_path / "leases"), "CUDA_VISIBLE_DEVICES": "-1",
        "PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }  # fmt: skip


@pytest.mark.e2e
def test_what_a_machine_loses_during_a_run_is_no_bad_input(
    tmp_path: Path, own_cache: Path, prefect_databases: Databases
) -> None:
    (tmp_path / "prefect").mkdir()
    shutil.copy(prefect_databases.empty, tmp_path / "prefect" / DATABASE)
    with subprocess.Popen(
        [sys.executable, "-m", "deployments", "run", "sample"],
        cwd=ROOT, env=environment(tmp_path, own_cache), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as run:  # fmt: skip
        deadline = time.monotonic() + 180
        while not list((tmp_path / "runs").glob("*/spec.json")) and run.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        # Preflight is over. Now the folder of locks goes bad.
        shutil.rmtree(tmp_path / "leases", ignore_errors=True)
        (tmp_path / "leases").write_text("no folder")
        said, _ = run.communicate(timeout=300)
    assert "cannot be used" in said, said
    assert run.returncode == 1, said
    assert "nothing was downloaded" not in said


def test_what_was_spent_is_said() -> None:
    wrong = problem("marking", AssayError("It is wrong."))
    with pytest.raises(PreflightError, match=r"nothing was downloaded or started\.") as before:
        refuse([ok("model", "here"), wrong])
    late = wrong.model_copy(update={"downloaded": True})
    with pytest.raises(PreflightError, match="rows were downloaded, nothing was started") as after:
        refuse([note("rows", "there"), late])
    assert before.value.nothing_spent and after.value.nothing_spent
    assert not PreflightError("A driver is gone.").nothing_spent
