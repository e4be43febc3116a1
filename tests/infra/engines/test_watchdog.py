from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from infra.engines.vllm.metrics import NAMES
from infra.engines.watchdog import Watchdog
from infra.machine import ports

SERVER = Path(__file__).parents[2] / "servers_for_tests.py"
KEY = "secret-key-of-the-test"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


class Server:
    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.root = f"http://127.0.0.1:{port}"
        self.process = process

    def computed(self) -> int:
        text = httpx.get(f"{self.root}/metrics", trust_env=False, timeout=60).text
        return int(text.split()[-1])

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.root}/health", trust_env=False, timeout=60).is_success
        except httpx.TransportError:
            return False

    def watched(self, limit: float) -> Watchdog:
        return Watchdog(self.root, "base-1", KEY, [NAMES], limit_seconds=limit)


@contextmanager
def running(*faults: str) -> Iterator[Server]:
    port = ports.find_free()
    with subprocess.Popen(
        [sys.executable, "-I", "-u", SERVER, str(port), "base-1", *faults],
        env=os.environ | {"VLLM_API_KEY": KEY},
    ) as process:
        server = Server(port, process)
        try:
            until(server.answers)
            yield server
        finally:
            process.kill()


def test_a_server_with_nothing_to_do_gets_a_request_and_is_not_taken_for_hung() -> None:
    with running() as server, server.watched(4.0) as dog:
        until(lambda: server.computed() >= 3)  # asked after half the limit, three times over
        assert not dog.hung


def test_a_server_at_work_is_left_alone() -> None:
    with running() as server, server.watched(4.0) as dog:
        for _ in range(50):
            body = {"model": "base-1"}
            key = {"Authorization": f"Bearer {KEY}"}
            url = f"{server.root}/v1/completions"
            httpx.post(url, json=body, headers=key, trust_env=False, timeout=60)
            time.sleep(0.1)
        assert not dog.hung
        assert server.computed() == 50


def test_a_stopped_process_is_hung() -> None:
    with running() as server, server.watched(1.0) as dog:
        server.process.send_signal(signal.SIGSTOP)
        until(lambda: dog.hung)


def test_an_engine_that_computes_nothing_is_hung_though_its_front_answers() -> None:
    with running("stalls") as server, server.watched(1.0) as dog:
        until(lambda: dog.hung)
        assert server.answers()
        assert server.computed() == 1
