"""Real servers that tests of several files ask: each starts once, and ends after the last of them.

A start takes twenty seconds of a core. The files are carried out one after the other, by the same
process where several share the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from infra import ENVIRONMENT
from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.engines.live import LiveServer
from infra.engines.port import Setup
from infra.engines.registry import engine_of
from infra.machine.device import detect
from infra.machine.preloaded import Preloading

_FILES = (
    "tests/infra/engines/vllm/test_loaded.py",
    "tests/infra/engines/vllm/test_server.py",
    "tests/infra/probes/fidelity/test_probe.py",
    "tests/infra/probes/triage/test_look.py",
    "tests/infra/scoring/test_exactness.py",
    "tests/infra/suite/passages/test_clients.py",
)
_running = ExitStack()

WINDOW = 1920
"""Of the first: less than the model takes by itself."""


@dataclass(frozen=True)
class Served:
    """A checkpoint and its server."""

    model: Path
    server: LiveServer
    log: Path
    window: int
    """Tokens that it was told to take."""


@pytest.fixture(scope="session")
def sample_server(
    server_environment: PythonEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> Served:
    """The sample model in float32, where there is no compiler, by an engine loaded ahead."""
    from tests.exactness import SAMPLE, served
    from tests.failing_engine import tools_of_engines

    work = tmp_path_factory.mktemp("sample")
    log = work / "server.log"
    running = served(SAMPLE, "float32", server_environment, log, max_model_len=WINDOW)
    with pytest.MonkeyPatch.context() as patch, Preloading() as ahead:
        patch.setitem(ENVIRONMENT, "PATH", tools_of_engines(work))
        patch.setitem(ENVIRONMENT, "TORCHINDUCTOR_CACHE_DIR", str(work / "inductor"))
        setup = Setup(SAMPLE, ServingSpec(), server_environment, detect("auto"))
        engine_of(setup.serving).load(setup, ahead, work / "loading.log")
        return Served(SAMPLE, _running.enter_context(running), log, WINDOW)


@pytest.fixture(scope="session")
def awq_server(
    server_environment: PythonEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> Served:
    """An AWQ checkpoint of it, computed one request at a time, every sum in one order."""
    from tests.exactness import SAMPLE, served_alone
    from tests.infra.scoring.checkpoints import write_awq

    work = tmp_path_factory.mktemp("awq")
    model = write_awq(SAMPLE, work / "awq")
    log = work / "server.log"
    running = served_alone(model, "float32", server_environment, log)
    return Served(model, _running.enter_context(running), log, 2048)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Iterator[None]:
    """End the servers once nobody is left who asks them."""
    yield
    if nextitem is None or _file(nextitem.nodeid) not in _FILES:
        _running.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put whole runs first, then those who share: so that what is left at the end is small."""

    def turn(item: pytest.Item) -> int:
        return 1 if _file(item.nodeid) in _FILES else 2 * item.nodeid.startswith("tests/infra/")

    items.sort(key=turn)


class Scheduling(LoadFileScheduling):  # type: ignore[misc]
    """Each file in one process, and all that share servers in one."""

    def _split_scope(self, nodeid: str) -> str:
        return _scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    """Let those who share servers be one file among others."""
    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _scope(nodeid: str) -> str:
    file = _file(nodeid)
    return "shared servers" if file in _FILES else file
