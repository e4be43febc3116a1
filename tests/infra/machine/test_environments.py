from __future__ import annotations

import sys
from pathlib import Path

import pytest

from infra.contracts.errors import EnvironmentBuildError
from infra.contracts.progress import Silent
from infra.machine import environments
from infra.store.settings import Settings

LOCK = """# comment
accelerate==1.0 \\
    --hash=sha256:aa
autoawq==0.2.9 \\
    --hash=sha256:bb \\
    --hash=sha256:cc
    # via -r quantizer.in
torch==2.13.0+cpu \\
    --hash=sha256:dd
"""


def test_what_is_built_with_torch_is_installed_after_it() -> None:
    first = environments._without(LOCK, ("autoawq",))
    second = environments._only(LOCK, ("autoawq",))
    assert first == (
        "accelerate==1.0 \\\n    --hash=sha256:aa\ntorch==2.13.0+cpu \\\n    --hash=sha256:dd\n"
    )
    assert second == "autoawq==0.2.9 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"


def test_the_folder_is_named_by_the_lock(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path)
    environment, present = environments.locate("vllm", "cpu", settings)
    other, _ = environments.locate("vllm", "cuda", settings)
    assert not present
    assert environment.python.is_relative_to(tmp_path / "environments")
    assert environment.digest[:16] in str(environment.python)
    assert environment.digest != other.digest


def test_an_environment_that_cannot_be_built_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_FIND_LINKS", "")
    log = tmp_path / "build.log"
    with pytest.raises(EnvironmentBuildError) as caught:
        environments.ensure(
            "awq", "cpu", settings=Settings(cache=tmp_path), progress=Silent(), log=log
        )
    for part in ("awq-cpu", "ASSAY_AWQ_PYTHON", str(log)):
        assert part in str(caught.value)
    left = [path.name for path in (tmp_path / "environments").iterdir()]
    assert [name for name in left if not name.endswith(".lock")] == []


def test_the_users_own_interpreter_is_checked(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentBuildError, match="does not run as a Python interpreter"):
        environments.locate("vllm", "cpu", Settings(interpreters={"vllm": tmp_path / "none"}))
    with pytest.raises(EnvironmentBuildError, match="has no package 'awq'"):
        environments.locate("awq", "cpu", Settings(interpreters={"awq": Path(sys.executable)}))


def test_pips_settings_reach_the_installer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_FIND_LINKS", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_FIND_LINKS", "/some/wheels")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    settings = environments._pip_settings()
    assert settings["UV_FIND_LINKS"] == "/some/wheels"
    assert settings["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://own.example/simple")
    assert "UV_DEFAULT_INDEX" not in environments._pip_settings()


@pytest.mark.parametrize("program", ["vllm", "awq"])
def test_what_is_for_a_gpu_is_locked_with_torch_for_a_gpu(program: str) -> None:
    assert "+cpu" not in environments.lock_file(program, "cuda").read_text()
    assert "+cpu" in environments.lock_file(program, "cpu").read_text()
