from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from infra.contracts.errors import EvaluationError, PortTaken, RequestFailed, ServerDied, ServerHung
from infra.contracts.records import Restart
from infra.engines.live import LiveServer
from infra.engines.restarts import work_through
from infra.engines.vllm.server import serve_command
from infra.machine import ports

SERVER = Path(__file__).parents[2] / "servers_for_tests.py"
KEY = "secret-key-of-the-test"


class Bench:
    """Work that is done on servers which may end, and a count of what was answered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: list[list[str]] = []
        """Of each coming start; none once they are used up."""
        self.hang_seconds = 300.0
        self.starts = 0
        self.answered = 0
        self.said: list[str] = []
        self.restarts: tuple[Restart, ...] = ()

    def say(self, text: str) -> None:
        self.said.append(text)

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        pass

    @contextmanager
    def serve(self, started_before: int) -> Iterator[LiveServer]:
        assert started_before == self.starts
        self.starts += 1
        port = ports.find_free()
        faults = self.faults.pop(0) if self.faults else []
        with ExitStack() as stack:
            if "port-lost" in faults:
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            yield stack.enter_context(
                serve_command(
                    [sys.executable, "-I", "-u", str(SERVER), str(port), "base-1", *faults],
                    env=dict(os.environ) | {"VLLM_API_KEY": KEY},
                    port=port, served_name="base-1", api_key=KEY, chat=False, concurrency=8,
                    device_name="a processor", timeout_seconds=120,
                    hang_seconds=self.hang_seconds,
                    log=self.folder / f"server-{self.starts}.log", progress=self,
                )
            )  # fmt: skip

    def through(self, *steps: Callable[[LiveServer], None], most: int = 2) -> None:
        """Do a step for each start."""

        def work(server: LiveServer, restarts: tuple[Restart, ...]) -> None:
            self.restarts = restarts
            steps[self.starts - 1](server)

        work_through(
            self.serve, work, most=most, answered=lambda: self.answered, progress=self
        )  # fmt: skip

    def answer(self, server: LiveServer) -> None:
        ask(server)
        self.answered += 1


def ask(server: LiveServer) -> None:
    try:
        httpx.post(
            f"{server.base_url}/completions", json={"model": server.model},
            headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, timeout=300,
        ).raise_for_status()  # fmt: skip
    except httpx.HTTPError:
        # As the scoring client: whoever is asked knows best why nothing comes.
        raise RequestFailed("no answer", status=None) from None


def killed(server: LiveServer) -> None:
    for process in psutil.Process(server._child.pid).children(recursive=True):
        process.send_signal(signal.SIGKILL)
    ask(server)


def stopped(server: LiveServer) -> None:
    for process in psutil.Process(server._child.pid).children(recursive=True):
        process.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:  # as the scoring client looks while it waits
        server.raise_if_dead()
        time.sleep(0.05)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_killed_server_is_started_again_and_the_work_goes_on(bench: Bench) -> None:
    def first(server: LiveServer) -> None:
        bench.answer(server)
        killed(server)

    bench.through(first, bench.answer)
    assert bench.starts == 2
    assert [restart.answered for restart in bench.restarts] == [1]
    assert "SIGKILL" in bench.restarts[0].reason
    assert any("1 of at most 2" in line and "1 answers are kept" in line for line in bench.said)


@pytest.mark.usefixtures("short_grace")
def test_a_hung_server_is_ended_and_started_again(bench: Bench) -> None:
    bench.hang_seconds = 3
    bench.through(stopped, bench.answer)
    assert bench.starts == 2
    assert "computes nothing" in bench.restarts[0].reason


def test_the_same_end_with_nothing_answered_in_between_is_the_last(bench: Bench) -> None:
    with pytest.raises(ServerDied) as caught:
        bench.through(killed, killed, bench.answer, most=9)
    assert bench.starts == 2
    assert "started again once before" in caught.value.cause


def test_where_answers_come_in_between_only_the_number_ends_it(bench: Bench) -> None:
    def some(server: LiveServer) -> None:
        bench.answer(server)
        killed(server)

    with pytest.raises(ServerDied, match="started again 2 times"):
        bench.through(some, some, some, some, most=2)
    assert bench.starts == 3
    assert bench.answered == 3


def test_a_server_that_does_not_come_up_is_not_tried_again(bench: Bench) -> None:
    bench.faults = [["exit-3"]]
    with pytest.raises(ServerDied) as caught:
        bench.through(bench.answer)
    assert bench.starts == 1
    assert "started again" not in str(caught.value)


def test_none_is_started_again_where_none_may(bench: Bench) -> None:
    with pytest.raises(ServerDied):
        bench.through(killed, bench.answer, most=0)
    assert bench.starts == 1


def test_a_port_lost_before_it_was_bound_is_replaced(bench: Bench) -> None:
    bench.faults = [["port-lost"]]
    bench.through(bench.answer, bench.answer)
    assert bench.starts == 2


def test_a_port_lost_twice_is_said(bench: Bench) -> None:
    bench.faults = [["port-lost"], ["port-lost"]]
    with pytest.raises(PortTaken):
        bench.through(bench.answer, bench.answer, bench.answer)


def test_what_the_work_itself_gets_wrong_is_not_repeated(bench: Bench) -> None:
    def wrong(server: LiveServer) -> None:
        raise EvaluationError("A prompt does not fit.")

    with pytest.raises(EvaluationError, match="does not fit"):
        bench.through(wrong, bench.answer)
    assert bench.starts == 1


@pytest.mark.usefixtures("short_grace")
def test_hung_is_an_error_of_its_own(bench: Bench) -> None:
    bench.hang_seconds = 3
    with pytest.raises(ServerHung, match="hang_timeout_seconds"):
        bench.through(stopped, most=0)
