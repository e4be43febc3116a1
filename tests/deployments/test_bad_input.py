"""What a user gets wrong: one clear error each, in seconds, and nothing is left behind."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deployments.__main__ import main
from tests.conftest import ROOT
from tests.deployments.bad_inputs import (
    CASES,
    Case,
    no_calibration_file,
    no_tokenizer,
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all: tasks that have been loaded are not loaded again."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def case(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, no_prefect_server: None
) -> Case:
    case = Case(tmp_path, cache)
    monkeypatch.setenv("ASSAY_CACHE", str(case.cache))
    monkeypatch.setenv("ASSAY_RUNS", str(case.runs))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    return case


def refused(case: Case, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(case.arguments()) == 2
    said = capsys.readouterr()
    return nothing_left(case, said.out, said.err)


def refused_elsewhere(case: Case) -> str:
    """Refuse it in a process of its own."""
    said = subprocess.run(
        [sys.executable, "-m", "deployments", *case.arguments()], cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 2, said.stderr
    return nothing_left(case, said.stdout, said.stderr)


def nothing_left(case: Case, out: str, error: str) -> str:
    assert "report:" not in out
    assert "Traceback" not in error
    assert not case.runs.exists()
    assert not list(case.cache.glob("checkpoints/*"))
    assert not list(case.cache.glob("scores/*"))
    return error


def test_there_are_forty_cases_of_different_names() -> None:
    assert len({spoil.__name__ for spoil, _ in CASES}) == len(CASES) >= 40


@pytest.mark.parametrize(("spoil", "said"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_bad_input_gets_one_clear_error(
    case: Case,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Case], None],
    said: tuple[str, ...],
) -> None:
    spoil(case)
    for name, value in case.environment.items():
        monkeypatch.setenv(name, value)
    # Prefect reads its variables once a process.
    of_prefect = "PREFECT_API_URL" in case.environment
    error = refused_elsewhere(case) if of_prefect else refused(case, capsys)
    for part in (*said, "remedy:"):
        assert part in error, error
    assert error.count("remedy:") == 1, error


def test_a_taken_port_is_named(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        case.set = [f"serving.port={port}"]
        error = refused(case, capsys)
    assert f"Port {port}" in error
    assert "serving.port" in error


def test_several_problems_are_named_at_once(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    no_tokenizer(case)
    no_calibration_file(case)
    case.tasks[0]["name"] = "gsm8kk"
    error = refused(case, capsys)
    for part in ("3 things", "tokenizer", "calibration.jsonl", "gsm8kk"):
        assert part in error, error


def test_a_large_model_is_refused_before_anything_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No GPU, no hub, no room: named together."""
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ASSAY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    model = "model.id=Qwen/Qwen2.5-700000B-Instruct"
    assert main(["run", "qwen2.5-7b-instruct", "--set", model]) == 2
    error = capsys.readouterr().err
    for part in ("No NVIDIA GPU", "127.0.0.1:9", "Disk:", "Main memory:", "calibration.jsonl"):
        assert part in error, error
    assert list(tmp_path.rglob("*.safetensors")) == []
