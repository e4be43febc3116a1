from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import ProcessError, ServerDied
from infra.contracts.progress import Silent
from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.engines.llamacpp.engine import LlamaCpp
from infra.engines.llamacpp.timing import time_points
from infra.engines.port import Setup
from infra.engines.timing import Point
from infra.machine.accelerators import Slots
from infra.machine.device import detect
from infra.machine.energy import Meter, meter_of
from tests.stand_in_driver import present

POINTS = [
    Point(input_tokens=24, output_tokens=9, concurrency=2, requests=5),
    Point(input_tokens=8, output_tokens=4, concurrency=1, requests=2),
]


class Streams:
    """A server that streams so many tokens, as far as it does not misbehave."""

    def __init__(self, fault: str = "") -> None:
        self.fault, self.bodies = fault, list[Any]()
        self.base_url, self.headers, self.model = "", {"Authorization": "Bearer key"}, "tiny"
        self.dead = False
        self.meter: Meter | None = None
        self.computes: Callable[[], None] = lambda: None
        """Called for each request, one at a time."""

        self.one = threading.Lock()

    def raise_if_dead(self) -> None:
        if self.dead:
            raise ServerDied("It ended.")

    def raise_if_failing(self) -> None:
        self.raise_if_dead()

    @contextmanager
    def running(self) -> Iterator[Streams]:
        streams = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with streams.one:
                    streams.bodies.append(body)
                    streams.computes()
                if streams.fault == "dies":
                    streams.dead = True
                self.send_response(500 if streams.fault == "refuses" else 200)
                self.end_headers()
                tokens = body["max_tokens"] // (2 if streams.fault == "short" else 1)
                for _ in range(tokens):
                    self._say({"choices": [{"text": "x"}]})
                if streams.fault != "no-usage":
                    self._say({"choices": [], "usage": {"completion_tokens": tokens}})
                self.wfile.write(b"data: [DONE]\n\n")

            def _say(self, event: dict[str, Any]) -> None:
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.fixture
def setup(gguf: Path) -> Setup:
    environment = PythonEnvironment(name="x", python=Path("/x"), digest="x", provided=True)
    return Setup(gguf, ServingSpec(engine="llamacpp"), environment, detect("cpu"))


def timed(
    setup: Setup, server: Streams, folder: Path, *, budget_seconds: float | None = None
) -> Any:
    return time_points(
        setup, server, POINTS,  # type: ignore[arg-type]
        budget_seconds=budget_seconds, log=folder / "log", progress=Silent(),
    )  # fmt: skip


def test_beyond_its_budget_no_point_begins(setup: Setup, tmp_path: Path) -> None:
    with Streams().running() as server:
        timing = timed(setup, server, tmp_path, budget_seconds=1e-9)
    assert len(timing.points) == 1 < len(POINTS)
    said = [doubt for doubt in timing.doubts if doubt.startswith("not timed with")]
    assert len(said) == len(POINTS) - 1


def test_every_point_is_warmed_up_and_then_timed(setup: Setup, tmp_path: Path) -> None:
    with Streams().running() as server:
        timing = timed(setup, server, tmp_path)
    assert [(p.requests, p.failed, p.output_tokens) for p in timing.points] == [
        (5, 0, 9),
        (2, 0, 4),
    ]
    assert timing.doubts == ()
    assert timing.command[:2] == ("streamed", "requests")
    assert [len(body["prompt"]) for body in server.bodies] == [24] * 7 + [8] * 3
    assert [body["max_tokens"] for body in server.bodies] == [9] * 7 + [4] * 3
    assert len({tuple(body["prompt"]) for body in server.bodies}) == 10
    assert all(512 <= token < 1536 for body in server.bodies for token in body["prompt"])
    for body in server.bodies:
        assert (body["ignore_eos"], body["cache_prompt"], body["temperature"]) == (True, False, 0)
    point = timing.points[0]
    assert 0 < point.ttft_ms_median <= point.ttft_ms_p99
    assert point.total_tokens_per_second > point.output_tokens_per_second > 0


def test_the_energy_of_a_point_is_that_of_its_timed_requests(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = {"uuid": "GPU-1", "energy": 1_000}
    with present(tmp_path, [gpu], monkeypatch) as driver, Streams().running() as server:

        def compute() -> None:
            driver.state["gpus"][0]["energy"] += 90_000
            driver.write()

        server.computes = compute
        server.meter = meter_of(Slots(("gpu-GPU-1",), (), {}), list)
        timing = timed(setup, server, tmp_path)
        server.meter = None
        without = timed(setup, server, tmp_path)
    assert [point.joules for point in timing.points] == [5 * 90, 2 * 90], "without the warm-ups"
    assert timing.points[0].joules_per_output_token == pytest.approx(90 / 9)
    assert timing.points[0].joules_per_token == pytest.approx(90 / (9 + 24))
    assert [point.joules for point in without.points] == [None, None]


def test_prompts_are_the_same_each_time(setup: Setup, tmp_path: Path) -> None:
    with Streams().running() as one, Streams().running() as other:
        timed(setup, one, tmp_path)
        timed(setup, other, tmp_path)
    prompts = [sorted(body["prompt"] for body in server.bodies) for server in (one, other)]
    assert prompts[0] == prompts[1]


def test_answers_that_are_too_short_are_doubtful(setup: Setup, tmp_path: Path) -> None:
    with Streams("short").running() as server:
        timing = timed(setup, server, tmp_path)
    assert "answers had 4 tokens instead of 9" in timing.doubts[0]


@pytest.mark.parametrize("fault", ["refuses", "no-usage"])
def test_without_any_answer_nothing_is_timed(setup: Setup, tmp_path: Path, fault: str) -> None:
    with (
        pytest.raises(ProcessError, match="no answer to 5 requests"),
        Streams(fault).running() as server,
    ):
        timed(setup, server, tmp_path)


def test_the_end_of_the_server_is_what_is_raised(setup: Setup, tmp_path: Path) -> None:
    with pytest.raises(ServerDied), Streams("dies").running() as server:
        timed(setup, server, tmp_path)


def test_the_real_one_is_timed(
    llamacpp_environment: PythonEnvironment, setup: Setup, tmp_path: Path
) -> None:
    engine = LlamaCpp()
    real = Setup(setup.checkpoint, setup.serving, llamacpp_environment, setup.device)
    with engine.serve(
        real, name="baseline", concurrency=None, logprobs=20, log=tmp_path / "server.log",
        progress=Silent(),
    ) as server:  # fmt: skip
        timing = engine.time(
            real, server, POINTS, budget_seconds=None, folder=tmp_path,
            log=tmp_path / "bench.log", progress=Silent(),
        )  # fmt: skip
    assert [(p.requests, p.failed) for p in timing.points] == [(5, 0), (2, 0)]
    assert timing.doubts == ()
    assert (tmp_path / "bench.log").read_text().count("_Answer") == 7
