"""How many requests are timed, and how the parts become one result."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from infra.engines.timing import half_width
from infra.engines.vllm.timing.command import WORKER


def loaded(path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location("bench_serve", path)
    assert found and found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


bench = loaded(WORKER)


class Command:
    """Answers as `vllm bench serve --save-detailed` does, with times it was given."""

    def __init__(self, seconds: Sequence[float], *, failed: int = 0) -> None:
        self.seconds, self.failed = list(seconds), failed
        self.calls: list[tuple[str, ...]] = []
        self.parts: list[dict[str, Any]] = []

    def __call__(self, *arguments: str) -> dict[str, Any]:
        self.calls.append(arguments)
        number = int(arguments[arguments.index("--num-prompts") + 1])
        times, self.seconds = self.seconds[:number], self.seconds[number:]
        assert len(times) == number
        part = {
            "completed": number - self.failed,
            "failed": self.failed,
            "duration": sum(times),
            "total_input_tokens": 128 * number,
            "total_output_tokens": 5 * (number - self.failed),
            "ttfts": [0.0] * self.failed + [one / 2 for one in times[self.failed :]],
            "itls": [[]] * self.failed + [[one / 8] * 4 for one in times[self.failed :]],
            "output_lens": [0] * self.failed + [5] * (number - self.failed),
        }
        self.parts.append(part)
        return part


STEADY = [0.600, 0.602, 0.599, 0.601] * 8
NOISY = [0.3, 1.2, 0.5, 0.9] * 8


@pytest.mark.parametrize(
    ("seconds", "precision", "requests"),
    [(STEADY, 0.02, [8]), (NOISY, 0.02, [8, 8, 8, 4]), (STEADY, 0.0, [8, 8, 8, 4])],
)
def test_it_asks_until_the_time_of_a_request_is_known(
    seconds: list[float], precision: float, requests: list[int]
) -> None:
    command = Command(seconds)
    whole = bench.timed(command, part=8, most=28, precision=precision, seed=7)
    asked = [call[call.index("--num-prompts") + 1] for call in command.calls]
    assert asked == list(map(str, requests))
    seeds = [call[call.index("--seed") + 1] for call in command.calls]
    assert seeds == [str(7 + number) for number in range(len(requests))], "no prompt comes twice"
    assert whole["completed"] == sum(requests)


def test_a_server_that_refuses_is_not_asked_for_more() -> None:
    whole = bench.timed(Command(NOISY, failed=2), part=8, most=32, precision=0.02, seed=0)
    assert (whole["completed"], whole["failed"]) == (6, 2)


def test_parts_become_what_all_of_them_at_once_would_be() -> None:
    command = Command(NOISY)
    found = bench.timed(command, part=8, most=24, precision=0.0, seed=0)
    times = np.array(NOISY[:24])
    rest = times / 2 / 4
    for name, values in {"ttft": times / 2, "tpot": rest}.items():
        assert found[f"median_{name}_ms"] == pytest.approx(1000 * np.median(values), rel=1e-12)
        assert found[f"p99_{name}_ms"] == pytest.approx(1000 * np.percentile(values, 99), rel=1e-12)
    assert found["answers"] == [
        pytest.approx([1000 * one / 2, 1000 * one / 8], rel=1e-12) for one in times
    ]
    assert found["output_throughput"] == pytest.approx(5 * 24 / times.sum(), rel=1e-12)
    assert found["total_token_throughput"] == pytest.approx(133 * 24 / times.sum(), rel=1e-12)


@pytest.mark.parametrize("number", [2, 5, 8, 9])
def test_the_interval_is_students(number: int) -> None:
    """The worker imports nothing of ours, nor scipy: it has its own table of Student's t."""
    assert bench.half_width(NOISY[:number]) == pytest.approx(half_width(NOISY[:number]), rel=3e-3)


def test_of_one_request_nobody_knows() -> None:
    assert bench.half_width([1.0]) is None
    assert half_width([1.0]) is None


def test_more_requests_than_the_table_has_are_never_taken_for_better_known() -> None:
    found, exact = bench.half_width(NOISY), half_width(NOISY)
    assert exact is not None
    assert exact <= found <= 1.15 * exact


CLOCK = [sys.executable, "-I", "-c", "import time; print(time.perf_counter())"]
"""A meter that says when it was read, by the clock that all processes share."""


class Serve(SimpleNamespace):
    """The module of the command, as far as it asks requests: it takes its time around them too."""

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []
        super().__init__(benchmark=self._benchmark)

    async def _benchmark(self, *, seconds: float) -> str:
        began = time.perf_counter()
        await asyncio.sleep(seconds)
        self.spans.append((began, time.perf_counter()))
        return "measured"

    def main(self, seconds: float = 0.05) -> str:
        time.sleep(0.05)
        return asyncio.run(self.benchmark(seconds=seconds))


def test_a_meter_is_read_before_and_after_each_part_and_never_within() -> None:
    serve = Serve()
    with bench.metered(serve, CLOCK) as readings:
        said = []
        for _ in range(2):
            began = time.perf_counter()
            said.append(serve.main())
            loaded = began + 0.05
            before = float(readings[-1][0])
            assert before > loaded, "what comes before the requests is not in it"
    assert said == ["measured"] * 2
    assert len(readings) == 2
    for (before, after), (began, ended) in zip(readings, serve.spans, strict=True):
        assert float(before) < began < ended < float(after)
    serve.main()
    assert len(readings) == 2, "afterwards nothing is read"


@pytest.mark.parametrize(
    ("meter", "read"),
    [(None, []), (["/does/not/exist"], [["", ""]]), (["/bin/false"], [["", ""]])],
)
def test_a_meter_that_cannot_be_read_costs_no_measurement(
    meter: list[str] | None, read: list[list[str]]
) -> None:
    serve = Serve()
    with bench.metered(serve, meter) as readings:
        assert serve.main() == "measured"
    assert readings == read


def test_a_meter_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "METER_SECONDS", 0.2)
    assert bench.reading(["sleep", "600"]) == ""


def test_a_command_that_asks_in_another_way_is_timed_without() -> None:
    with bench.metered(SimpleNamespace(), CLOCK) as readings:
        pass
    assert json.loads(json.dumps(readings)) == []
