from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import QuantizationError
from infra.contracts.progress import Silent
from infra.contracts.records import PythonEnvironment
from infra.quantizers.awq import WORKER
from infra.quantizers.worker import Request, Response, Samples

GOLDEN = Path(__file__).parents[1] / "golden"
HERE = PythonEnvironment(name="own", python=Path(sys.executable), digest="", provided=True)


def golden_request() -> Request:
    return Request.model_validate_json((GOLDEN / "quantize_request.json").read_text())


def test_the_request_is_the_golden_one() -> None:
    made = Request(
        model=Path("/models/m"),
        output=Path("/checkpoints/.key.partial"),
        safetensors=True,
        trust_remote_code=False,
        quantization={"w_bit": 4, "q_group_size": 128, "zero_point": True, "version": "GEMM"},
        calibration=Samples(token_ids=[[5, 6, 7], [8, 9]], max_sequence_length=16),
    )
    golden = json.loads((GOLDEN / "quantize_request.json").read_text())
    assert json.loads(made.model_dump_json()) == golden


def test_the_golden_response_is_understood_and_no_other() -> None:
    text = (GOLDEN / "quantize_response.json").read_text()
    response = Response.model_validate_json(text)
    assert json.loads(response.model_dump_json()) == json.loads(text)
    with pytest.raises(ValueError, match="version"):
        Response.model_validate_json(text.replace('"version": 1', '"version": 2'))


def test_the_worker_refuses_a_request_of_another_version(tmp_path: Path) -> None:
    request_file, response_file = tmp_path / "request.json", tmp_path / "response.json"
    request = json.loads((GOLDEN / "quantize_request.json").read_text())
    request_file.write_text(json.dumps(request | {"version": 2}))
    done = subprocess.run(
        [sys.executable, "-I", "-u", WORKER.script, request_file, response_file],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    golden = json.loads((GOLDEN / "quantize_failure.json").read_text())
    assert json.loads(response_file.read_text()) == golden


def test_an_interpreter_without_the_packages_is_refused() -> None:
    with pytest.raises(QuantizationError, match="lacks autoawq, torch"):
        WORKER.versions(HERE)


def test_an_interpreter_that_does_not_run_is_refused(tmp_path: Path) -> None:
    missing = HERE.model_copy(update={"python": tmp_path / "python"})
    with pytest.raises(QuantizationError, match="does not answer"):
        WORKER.versions(missing)


def test_the_worker_says_which_package_it_misses(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with pytest.raises(QuantizationError) as caught:
        WORKER.ask(
            golden_request().model_copy(update={"output": tmp_path}),
            model="the model",
            environment=HERE,
            progress=Silent(),
            log=log,
        )
    assert "environment" in caught.value.remedy
    assert "No module named 'torch'" in caught.value.fact
    assert "Traceback" in caught.value.cause
    assert str(log) in caught.value.remedy


def failure(folder: Path, script: str, **changes: Any) -> QuantizationError:
    """Return what is said when the interpreter does what a shell script does."""
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    with pytest.raises(QuantizationError) as caught:
        WORKER.ask(
            golden_request().model_copy(update={"output": folder, **changes}),
            model="the model",
            environment=HERE.model_copy(update={"python": python}),
            progress=Silent(),
            log=folder / "log.txt",
        )
    return caught.value


@pytest.mark.parametrize("conversations", [True, False])
def test_without_conversations_nobody_is_sent_to_take_fewer(
    tmp_path: Path, conversations: bool
) -> None:
    changes = {} if conversations else {"calibration": None}
    error = failure(tmp_path, "kill -KILL $$", **changes)
    assert "killed by SIGKILL" in error.fact
    assert "a machine with more memory" in error.remedy
    assert ("max_samples" in error.remedy) is conversations


def test_a_disk_without_room_for_the_answer_is_said_to_be_full(tmp_path: Path) -> None:
    error = failure(tmp_path, "echo 'OSError: [Errno 28] No space left on device'; exit 1")
    assert "The disk of the checkpoints is full." in error.cause
    assert "ASSAY_CACHE" in error.remedy
    assert "limit of" in failure(tmp_path, "echo 'OSError: [Errno 5]'; exit 1").remedy
