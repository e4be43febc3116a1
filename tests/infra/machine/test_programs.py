"""A program of the user's own in place of an environment."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from infra.contracts.errors import EnvironmentBuildError
from infra.contracts.records import PythonEnvironment
from infra.machine import environments
from infra.preflight import interpreters
from infra.store.settings import Settings


@pytest.fixture
def program(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    return copied(folder / "llama-server", "ls")


def copied(program: Path, which: str) -> Path:
    """Put a program that says its version in its place."""
    found = shutil.which(which)
    assert found is not None
    return Path(shutil.copy(Path(found).resolve(), program))


def written(program: Path, script: str) -> Path:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def located(program: Path, device: str = "cpu") -> PythonEnvironment:
    found, present = environments.locate("llamacpp", device, Settings(), program)  # type: ignore[arg-type]
    assert present
    return found


def test_it_is_known_by_what_it_is(program: Path, tmp_path: Path) -> None:
    found = located(program)
    assert (found.name, found.python, found.provided) == ("llamacpp", program, True)
    assert located(program) == found
    copy = tmp_path / "elsewhere" / "llama-server"
    copy.parent.mkdir()
    program.rename(copy)
    assert located(copy).digest == found.digest
    copied(copy, "cat")
    assert located(copy).digest != found.digest


def test_what_a_script_starts_is_never_the_same(program: Path) -> None:
    written(program, "echo version: 1")
    assert located(program).digest != located(program).digest


@pytest.mark.parametrize(
    "place",
    [
        "bin/libllama.so", "lib/libggml.so.0", "lib64/libllama.so",
        "lib/x86_64-linux-gnu/libllama.so",
    ],
)  # fmt: skip
def test_libraries_that_lie_with_it_count(program: Path, tmp_path: Path, place: str) -> None:
    before = located(program).digest
    (tmp_path / place).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / place).write_bytes(b"code")
    with_one = located(program).digest
    (tmp_path / place).write_bytes(b"other")
    assert len({before, with_one, located(program).digest}) == 3


def test_one_that_does_not_run_is_refused(program: Path, tmp_path: Path) -> None:
    written(program, "echo no such processor >&2; exit 3")
    with pytest.raises(EnvironmentBuildError, match="does not run") as caught:
        located(program)
    assert caught.value.cause == "no such processor"
    with pytest.raises(EnvironmentBuildError, match=r"serving\.python=.*does not run"):
        located(tmp_path / "llama-server-that-is-not-there")


def test_a_variable_names_it_as_well(program: Path) -> None:
    settings = Settings(interpreters={"llamacpp": program})
    assert environments.locate("llamacpp", "cuda", settings)[0].python == program
    program.unlink()
    with pytest.raises(EnvironmentBuildError, match="ASSAY_LLAMACPP_PYTHON"):
        environments.locate("llamacpp", "cuda", settings)


def test_for_a_gpu_there_is_none_but_the_users(program: Path) -> None:
    assert located(program, "cuda").provided
    found, size = interpreters.environment("llamacpp", "cuda", Settings(), program)
    assert (found, size) == (f"yours, {program}", 0)
    with pytest.raises(EnvironmentBuildError, match="no llamacpp environment for cuda") as caught:
        interpreters.environment("llamacpp", "cuda", Settings())
    assert "ASSAY_LLAMACPP_PYTHON" in caught.value.remedy


def test_the_environment_without_torch_is_small(tmp_path: Path) -> None:
    _, size = interpreters.environment("llamacpp", "cpu", Settings(cache=tmp_path))
    _, other = interpreters.environment("vllm", "cpu", Settings(cache=tmp_path))
    assert 0 < size < other
