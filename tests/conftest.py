"""What many tests share: the real environments, built once into the user's cache."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from filelock import FileLock

from infra.contracts.records import PythonEnvironment
from infra.machine.environments import ensure
from infra.store.settings import Settings
from infra.suite.harness.definitions.catalog import catalog
from tests.prefect_server import Databases, write_databases

pytest_plugins = ["tests.shared_servers"]

MOMENT = datetime(2026, 1, 1)
"""What chat templates take for now."""

ROOT = Path(__file__).parent.parent


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name parameters that are bytes by their argument: gzip, for one, writes the second into its.

    Tests that run in parallel are collected once for each process, and must have the same names.
    """
    return argname if isinstance(val, bytes) else None


def pytest_collection_finish() -> None:
    """Spare garbage collections what thousands of tests and libraries are: it is all used.

    Looking through it takes a fifth of a second, and some tests collect garbage to see what was
    left open.
    """
    gc.freeze()


@pytest.fixture
def no_prefect_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no Prefect server be configured, whatever one's variables and profile name."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with temporary_settings(
        updates={"server.ephemeral.enabled": True}, restore_defaults={PREFECT_API_URL}
    ):
        yield


class PrintProgress:
    """Progress for tests: pytest shows it when a test fails."""

    def say(self, text: str) -> None:
        print(text)

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        print(what, done, total, unit)


def _environment(program: str, tmp_path_factory: pytest.TempPathFactory) -> PythonEnvironment:
    log = tmp_path_factory.mktemp("environments") / f"{program}.log"
    return ensure(program, "cpu", settings=Settings(), progress=PrintProgress(), log=log)


@pytest.fixture(scope="session")
def server_environment(tmp_path_factory: pytest.TempPathFactory) -> PythonEnvironment:
    """The environment with the real vLLM, CPU build."""
    return _environment("vllm", tmp_path_factory)


@pytest.fixture(scope="session")
def quantizer_environment(tmp_path_factory: pytest.TempPathFactory) -> PythonEnvironment:
    """The environment with the real AutoAWQ, CPU build."""
    return _environment("awq", tmp_path_factory)


@pytest.fixture(scope="session")
def llmcompressor_environment(tmp_path_factory: pytest.TempPathFactory) -> PythonEnvironment:
    """The environment with the real llm-compressor, CPU build."""
    return _environment("llmcompressor", tmp_path_factory)


@pytest.fixture(scope="session")
def gguf_environment(tmp_path_factory: pytest.TempPathFactory) -> PythonEnvironment:
    """The environment with llama.cpp's converter and quantizer."""
    return _environment("gguf", tmp_path_factory)


@pytest.fixture(scope="session")
def llamacpp_environment(tmp_path_factory: pytest.TempPathFactory) -> PythonEnvironment:
    """The environment with llama.cpp's real server: 34 MB, up in a second."""
    return _environment("llamacpp", tmp_path_factory)


@pytest.fixture(scope="session")
def documents_environment(tmp_path_factory: pytest.TempPathFactory) -> PythonEnvironment:
    """The environment with LlamaIndex and LangChain."""
    return _environment("documents", tmp_path_factory)


@pytest.fixture(scope="session")
def chat_environment(tmp_path_factory: pytest.TempPathFactory) -> PythonEnvironment:
    """The environment with Gradio."""
    return _environment("chat", tmp_path_factory)


@pytest.fixture(scope="session")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the sample as a GGUF file in float32, with its tokenizer."""
    from tests import sample_gguf

    return sample_gguf.write(tmp_path_factory.mktemp("gguf") / "sample")


@pytest.fixture(scope="session", autouse=True)
def own_leases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Locks of the tests' own: they wait for no run of this machine, and no run for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSAY_LEASES", str(tmp_path_factory.mktemp("leases")))
        yield


@pytest.fixture(scope="session", autouse=True)
def names_of_lm_eval() -> None:
    """What takes ten seconds to list is found in the user's cache, once for all tests' own."""
    catalog(settings=Settings())


@pytest.fixture(scope="session")
def prefect_databases(tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """What Prefect servers begin with, made once for all processes."""
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with FileLock(folder / "prefect.lock"):
        return write_databases(folder)


@pytest.fixture
def own_cache(tmp_path: Path) -> Path:
    """A cache of the test's own that shares with the user's only what takes long to make."""
    return shared_cache(tmp_path)


def shared_cache(folder: Path) -> Path:
    """Make such a cache in a folder."""
    cache = folder / "cache"
    cache.mkdir()
    for shared in (Settings().environments, Settings().cache / "task-index"):
        shared.mkdir(parents=True, exist_ok=True)
        (cache / shared.name).symlink_to(shared)
    return cache
