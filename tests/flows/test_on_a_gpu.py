"""What only a machine with an NVIDIA GPU can show: `make test-gpu`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.machine.device import detect, gpus, memory_holders
from tests.conftest import ROOT

pytestmark = [
    pytest.mark.e2e, pytest.mark.engine, pytest.mark.gpu,
    pytest.mark.skipif(not gpus(), reason="no NVIDIA driver answers here"),
]  # fmt: skip


def test_the_sample_comes_to_a_verdict_and_leaves_no_memory_taken(
    tmp_path: Path, own_cache: Path
) -> None:
    before = memory_holders()
    folders = {"ASSAY_CACHE": own_cache, "ASSAY_RUNS": tmp_path / "runs"}
    run = subprocess.run(
        [sys.executable, "-m", "deployments", "run", "sample", "--set", "serving.device=cuda"],
        cwd=ROOT, env={**os.environ, **{name: str(path) for name, path in folders.items()}},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-4000:]
    page = Path(run.stdout.splitlines()[-1].removeprefix("report: "))
    report = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    assert report["verdict"]["status"] in {"PASS", "FAIL", "INCONCLUSIVE"}
    for arm in report["arms"].values():
        assert arm["server"]["device"] == detect("cuda").name
        assert arm["bench"]["points"], "nothing was timed"
    left = {pid: size for pid, size in memory_holders().items() if pid not in before}
    assert not left, "an engine of ours still holds memory"
