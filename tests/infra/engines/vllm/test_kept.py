from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from infra.contracts.records import PythonEnvironment
from infra.engines.vllm import kept as module
from infra.engines.vllm.kept import FOLDER, kept, trim


def environment(folder: Path, *, provided: bool = False) -> PythonEnvironment:
    python = folder / "bin" / "python"
    return PythonEnvironment(name="vllm-cpu", python=python, digest="d", provided=provided)


def part(path: Path, size: int, used: float) -> Path:
    path.mkdir(parents=True)
    (path / "kernel").write_bytes(b"x" * size)
    os.utime(path / "kernel", (used, used))
    return path


def test_what_is_compiled_goes_into_the_environments_own_folder(tmp_path: Path) -> None:
    with kept(environment(tmp_path), {"TRITON_CACHE_DIR": "/mine"}) as places:
        assert places == {
            "VLLM_CACHE_ROOT": str(tmp_path / FOLDER / "vllm"),
            "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / FOLDER / "inductor"),
            "FLASHINFER_WORKSPACE_BASE": str(tmp_path / FOLDER / "flashinfer"),
        }


NAME = "TORCHINDUCTOR_CACHE_DIR"


def test_an_interpreter_of_the_users_own_keeps_its_places(tmp_path: Path) -> None:
    for one in (environment(tmp_path, provided=True), environment(tmp_path / "gone")):
        with kept(one, {}) as places:
            assert places.keys() == {NAME}
        with kept(one, {NAME: "/mine"}) as places:
            assert places == {}
    assert not list(tmp_path.iterdir())


@pytest.mark.engine
def test_torch_keeps_its_own_in_a_folder_that_a_server_does_not_share_with_the_next_one(
    tmp_path: Path, server_environment: PythonEnvironment
) -> None:
    given = {"TMPDIR": str(tmp_path), "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    says = "from torch._inductor.runtime.cache_dir_utils import default_cache_dir as default"
    said = subprocess.run(
        [server_environment.python, "-c", f"{says}; print(default())"],
        capture_output=True, text=True, check=True, env=given,
    )  # fmt: skip
    with kept(environment(tmp_path, provided=True), given) as places:
        assert places == {NAME: said.stdout.strip()}


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    old = part(tmp_path / "vllm" / "torch_compile_cache" / "a", 1000, 100)
    new = part(tmp_path / "vllm" / "torch_compile_cache" / "b", 1000, 300)
    kernel = part(tmp_path / "triton" / "k", 1000, 200)
    graph = part(tmp_path / "inductor" / "fxgraph" / "g", 1000, 250)
    assert trim(tmp_path, 4000) == 0
    assert trim(tmp_path, 1500) == 3000
    kept_ones = [path.exists() for path in (old, kernel, graph, new)]
    assert kept_ones == [False, False, False, True]


def test_nothing_is_removed_while_another_engine_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    old = part(tmp_path / FOLDER / "vllm" / "torch_compile_cache" / "a", 1000, 100)
    with (tmp_path / FOLDER / "lock").open("a+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # as an engine does all its life
        with kept(environment(tmp_path), {}):
            assert old.exists()
    with kept(environment(tmp_path), {}) as places:
        assert places and not old.exists()


def test_what_is_written_while_it_is_trimmed_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise FileNotFoundError("a file that was just replaced")

    monkeypatch.setattr(module, "trim", gone)
    with kept(environment(tmp_path), {}) as places:
        assert places
