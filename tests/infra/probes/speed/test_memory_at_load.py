from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from infra.engines.vllm.server import LiveServer
from infra.machine import device, ports
from infra.machine.device import Device
from infra.probes.speed import memory_at_load as memory

GPU = Device(kind="cuda", name="A GPU", count=1, memory_bytes=2**36)
PROCESSOR = Device(kind="cpu", name="a processor", count=1, memory_bytes=2**36)
SAYS = """\
INFO 09-27 08:00:01 [gpu_model_runner.py:5355] Model loading took 67.7038 GiB memory and 421.8 s
INFO 09-27 08:07:12 [kv_cache_utils.py:2410] GPU KV cache size: 1,109,643 tokens, Maximum
"""


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What a GPU driver's tool lists as holding memory."""
    held, tool = tmp_path / "held", tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(
        f"#!/bin/sh\ncase $1 in --query-gpu*) echo 0, GPU-1, A GPU, 81559, 1;; *) cat {held}; esac"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=os.pathsep)
    device._all_gpus.cache_clear()
    yield held
    device._all_gpus.cache_clear()


@pytest.fixture
def engine(server: LiveServer, tmp_path: Path) -> LiveServer:
    """A server whose log tells what an engine's does."""
    log = tmp_path / "server.log"
    log.write_text(SAYS)
    return replace(server, record=server.record.model_copy(update={"log": str(log)}))


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
    engine: LiveServer, held: Path
) -> None:
    held.write_text(f"{pid_of(engine)}, 2566\n{pid_of(engine)}, 434\n1, 7000\n")
    assert memory.at_load(engine, GPU).process_bytes == 3000 * 2**20


@pytest.mark.parametrize("listed", ["", "1, 7000\n", "{pid}, [N/A]\n"])
def test_a_driver_that_does_not_tell_is_believed_nothing(
    engine: LiveServer, held: Path, listed: str
) -> None:
    held.write_text(listed.format(pid=pid_of(engine)))
    assert memory.at_load(engine, GPU).process_bytes is None
