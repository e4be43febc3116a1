"""AutoAWQ's search without its waits, beside AutoAWQ's own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from infra.contracts.records import PythonEnvironment
from infra.quantizers.awq import WORKER

SCRIPT = Path(__file__).with_name("lean_beside_stock.py")


@pytest.mark.engine
def test_it_computes_what_autoawq_does(
    quantizer_environment: PythonEnvironment,
) -> None:
    """The same words to the bit; thresholds no worse by the error that is minimised."""
    done = subprocess.run(
        [quantizer_environment.python, "-I", "-W", "ignore", SCRIPT, WORKER.script.parent],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["words"] == [0, 0]
    assert found["rounded"] == [0, 0]
    for bounds in found["bounds"]:
        assert bounds["shape"]
        assert bounds["clipped"] > bounds["of"] / 4, "the search has something to choose"
        assert bounds["other"] <= bounds["of"] / 100
        assert bounds["worse"] < 1e-5
