from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from infra.engines.live import LiveServer
from infra.machine import ports
from infra.machine.device import Device
from infra.probes.speed import memory_at_load as memory
from tests.stand_in_driver import Driver, present

GPU = Device(kind="cuda", name="A GPU", count=1, memory_bytes=2**36)
PROCESSOR = Device(kind="cpu", name="a processor", count=1, memory_bytes=2**36)
SAYS = """\
INFO 09-27 08:00:01 [gpu_model_runner.py:5355] Model loading took 67.7038 GiB memory and 421.8 s
INFO 09-27 08:07:12 [kv_cache_utils.py:2410] GPU KV cache size: 1,109,643 tokens, Maximum
"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """A GPU driver that lists as holding memory whoever is named to it."""
    with present(tmp_path, [{"uuid": "GPU-1"}, {"uuid": "GPU-2"}], monkeypatch) as driver:
        yield driver


@pytest.fixture
def engine(server: LiveServer, tmp_path: Path) -> LiveServer:
    """A server whose log tells what an engine's does."""
    log = tmp_path / "server.log"
    log.write_text(SAYS)
    return replace(server, _child=replace(server._child, log=log))


def pid_of(server: LiveServer) -> int:
    process = ports.listener(int(server.base_url.split(":")[2].partition("/")[0]))
    assert process is not None
    return process.pid


def test_the_log_tells_of_weights_and_room(engine: LiveServer) -> None:
    found = memory.at_load(engine, PROCESSOR)
    assert found.weights_bytes == round(67.7038 * 2**30)
    assert found.kv_cache_tokens == 1_109_643


def test_on_a_processor_the_servers_resident_memory_counts(engine: LiveServer) -> None:
    now = psutil.Process(pid_of(engine)).memory_info().rss
    assert memory.at_load(engine, PROCESSOR).process_bytes == pytest.approx(now, rel=0.2)


def test_on_an_accelerator_only_the_servers_own_memory_counts(
    engine: LiveServer, driver: Driver
) -> None:
    driver.holds((pid_of(engine), 2566 * 2**20), (1, 7000 * 2**20))
    driver.holds((pid_of(engine), 434 * 2**20), gpu=1)
    assert memory.at_load(engine, GPU).process_bytes == 3000 * 2**20


@pytest.mark.parametrize("listed", ["nobody", "somebody else", "no memory"])
def test_a_driver_that_does_not_tell_is_believed_nothing(
    engine: LiveServer, driver: Driver, listed: str
) -> None:
    if listed == "somebody else":
        driver.holds((1, 7000 * 2**20))
    if listed == "no memory":
        driver.holds((pid_of(engine), None))
    assert memory.at_load(engine, GPU).process_bytes is None
