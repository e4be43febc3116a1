from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from infra.scoring import pace
from infra.scoring.protocol import Generation, Question
from infra.scoring.tokens import pack
from tests.infra.scoring.checking_client import EVERYTHING, TEXTS, CheckingClient
from tests.infra.suite.harness.completions_server import Completions, serving

MANY: list[Question] = [Generation(pack([4, n]), "{}") for n in range(80)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, hasty: None, nothing_left_behind: None) -> None:
    monkeypatch.setattr(pace, "START", 4)
    monkeypatch.setattr(pace, "MOST", 32)


class Held(Completions):
    """Answers nothing before a condition holds; then everything."""

    def __init__(self, until: Callable[[Held], bool], **fields: Any) -> None:
        super().__init__(**fields)
        self._until = until
        self._holds = threading.Condition()
        self.held = True

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        with self._holds:
            while self.held and not self._until(self):
                self._holds.wait(0.01)
            self.held = False
            self._holds.notify_all()
        return super().complete(body)


class Metrics:
    """Counters in vLLM's text; the second look finds preemptions, if so wished."""

    def __init__(self, *, waiting: int = 0, cache: float = 0.1, thrown_out: int = 0) -> None:
        self._waiting, self._cache, self._thrown_out = waiting, cache, thrown_out
        self.looks = 0

    def __call__(self) -> str:
        self.looks += 1
        return (
            "vllm:num_requests_running 8\n"
            f"vllm:num_requests_waiting {self._waiting}\n"
            f"vllm:kv_cache_usage_perc {self._cache}\n"
            f"vllm:num_preemptions_total {min(self.looks, 2) * self._thrown_out}\n"
        )


def test_more_are_sent_at_a_time_while_the_server_takes_all_it_is_given() -> None:
    metrics = Metrics()
    with serving(Held(lambda server: server.in_hand >= 32, metrics=metrics)) as server:
        checker = CheckingClient(server)
        checker.ask(MANY)
    assert server.most_in_hand == checker.pace.limit == checker.pace.highest == 32
    assert metrics.looks >= 3
    assert set(server.gets) == {"/metrics"}


@pytest.mark.parametrize("load", [{"waiting": 9}, {"cache": 0.95}], ids=["queue", "cache"])
def test_no_more_are_sent_at_a_time_than_the_server_computes(load: dict[str, Any]) -> None:
    metrics = Metrics(**load)
    with serving(Held(lambda server: metrics.looks > 5, metrics=metrics)) as server:
        checker = CheckingClient(server)
        checker.ask(MANY)
    assert server.most_in_hand == checker.pace.limit == 4


def test_fewer_are_sent_at_a_time_when_sequences_are_thrown_out() -> None:
    metrics = Metrics(thrown_out=1, waiting=9)
    with serving(Held(lambda server: metrics.looks > 2, metrics=metrics)) as server:
        checker = CheckingClient(server)
        checker.ask(MANY)
    assert checker.pace.limit == 2


@pytest.mark.parametrize("text", [None, "", "process_cpu_seconds_total 9\n"])
def test_a_server_that_tells_nothing_gets_as_many_as_at_the_beginning(text: str | None) -> None:
    with serving(Held(lambda server: bool(server.gets), metrics=lambda: text)) as server:
        checker = CheckingClient(server)
        checker.ask(MANY)
    assert server.most_in_hand == checker.pace.limit == 4
    assert set(server.gets) == {"/metrics"}


@pytest.mark.parametrize("fixed", [1, 3, 7])
def test_a_named_number_is_kept_and_the_counters_are_not_read(fixed: int) -> None:
    metrics = Metrics()
    with serving(Held(lambda server: server.in_hand >= fixed, metrics=metrics)) as server:
        checker = CheckingClient(server, fixed)
        checker.ask(EVERYTHING)
    assert server.most_in_hand == fixed
    assert max(len(request["prompt"]) for request in server.requests) == fixed
    assert metrics.looks == 0


def test_a_number_that_no_batch_fits_exactly_is_used_in_full() -> None:
    with serving(Held(lambda server: server.in_hand >= 50)) as server:
        CheckingClient(server, fixed=50).ask(TEXTS)
    assert server.most_in_hand == 50
