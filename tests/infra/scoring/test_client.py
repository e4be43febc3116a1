from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import StreamReader
from pydantic import SecretStr

from infra.contracts.capability import Capability
from infra.contracts.errors import ServerDied
from infra.engines.load import Load
from infra.scoring import client, pace
from infra.scoring.protocol import Question
from tests.infra.scoring.checking_client import (
    ECHOES,
    EVERYTHING,
    KEY,
    READS,
    TEXTS,
    CheckingClient,
)
from tests.infra.suite.harness.completions_server import (
    Completions,
    Drop,
    Stall,
    Status,
    Trouble,
    serving,
)

NAMED = "The server could not be asked quiz, document {}: "

pytestmark = pytest.mark.usefixtures("hasty", "nothing_left_behind")


class Sometimes:
    """Trouble with the first sending of some requests; when they are repeated they are answered."""

    def __init__(self, *kinds: Trouble) -> None:
        self._kinds = kinds
        self._seen: set[str] = set()
        self.times = 0

    def __call__(self, number: int, body: dict[str, Any]) -> Trouble:
        if (name := str(body)) in self._seen:
            return None
        self._seen.add(name)
        trouble = self._kinds[len(self._seen) % len(self._kinds)]
        self.times += trouble is not None
        return trouble


def at(prompt: list[int], trouble: Trouble) -> Callable[[int, dict[str, Any]], Trouble]:
    """Return trouble for each request that holds a prompt."""
    return lambda number, body: trouble if prompt in body["prompt"] else None


# --- what heals ----------------------------------------------------------------------------


def test_all_is_requested_once_and_answered() -> None:
    with serving(Completions()) as server:
        checker = CheckingClient(server)
        checker.ask()
    assert len(server.requests) == 4 + 15 + 60
    assert {request["seed"] for request in server.requests if "seed" in request} == {3}
    assert server.keys == {f"Bearer {KEY}"}
    counts = checker.client.counts
    assert (counts.requests, counts.retries, counts.answered) == (79, 0, 320)
    assert counts.prompt_tokens == 200 * 2 + 60 * 4 + 60 * 2
    assert checker.said == []


@pytest.mark.parametrize("fixed", [None, 5])
@pytest.mark.parametrize(
    ("trouble", "one_in"),
    [
        (Status(500), 10),
        (Status(429, headers={"Retry-After": "0.01"}), 10),
        (Status(503), 10),
        (Status(408), 2),
        (Drop(), 10),
        (Stall(), 40),
    ],
    ids=["500", "429", "503", "408", "dropped", "silent"],
)
def test_trouble_now_and_then_costs_nothing_but_time(
    trouble: Trouble, one_in: int, fixed: int | None
) -> None:
    sometimes = Sometimes(*[trouble], *[None] * (one_in - 1))
    with serving(Completions(trouble=sometimes)) as server:
        checker = CheckingClient(server, fixed, timeout=0.3 if isinstance(trouble, Stall) else 30)
        checker.ask()
    counts = checker.client.counts
    assert counts.requests == len(server.requests)
    assert counts.retries >= sometimes.times > 0
    assert counts.answered == len(EVERYTHING)
    throttled = isinstance(trouble, Status) and trouble.code in (429, 503)
    assert (checker.pace.limit < pace.START) == (throttled or fixed is not None)


def test_all_kinds_of_trouble_at_once_heal() -> None:
    sometimes = Sometimes(Status(500), Drop(), Status(429), None, Status(502), Status(425), None)
    with serving(Completions(trouble=sometimes)) as server:
        checker = CheckingClient(server, fixed=40)
        checker.ask()
    assert checker.client.counts.retries == sometimes.times > 30


class Moving:
    """A server that is another one when the first is dead."""

    def __init__(self, *servers: Completions) -> None:
        self._servers = servers

    @property
    def _now(self) -> Completions:
        return next(server for server in self._servers if not server.dead)

    @property
    def base_url(self) -> str:
        return self._now.base_url

    @property
    def headers(self) -> dict[str, str]:
        return self._now.headers

    @property
    def model(self) -> str:
        return self._now.model

    @property
    def can(self) -> frozenset[Capability]:
        return frozenset()

    @property
    def meter(self) -> None:
        return None

    def load(self) -> Load | None:
        return self._now.load()

    def raise_if_dead(self) -> None:
        pass


def test_a_server_that_comes_back_on_another_port_is_found_there() -> None:
    with serving(Completions(die_after=7)) as first, serving(Completions()) as second:
        second.api_key = SecretStr("another key")
        CheckingClient(Moving(first, second), fixed=100).ask()
    assert len(first.requests) >= 7
    assert len(second.requests) > 60
    assert second.keys == {"Bearer another key"}


def test_a_server_that_nobody_reaches_yet_is_waited_for() -> None:
    class Late(Completions):
        """Answers at its address when that was asked for twelve times."""

        reads_of_address = 0

        def __getattribute__(self, name: str) -> Any:
            if name == "base_url":
                self.reads_of_address += 1
                if self.reads_of_address <= 12:
                    return closed
            return super().__getattribute__(name)

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        with serving(Late()) as server:
            checker = CheckingClient(server)
            checker.ask(TEXTS[:3])
    assert checker.client.counts.retries >= 9


def test_what_is_spoilt_once_is_requested_again_in_parts() -> None:
    spoilt: list[Any] = []

    def change(answer: dict[str, Any]) -> Any:
        if not spoilt:
            spoilt.append(answer["choices"].pop())
        return answer

    with serving(Completions(change=change)) as server:
        CheckingClient(server).ask(READS[:64])
    assert [len(request["prompt"]) for request in server.requests] == [64, 32, 32]


# --- what does not heal --------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1, 31, 32, 63, 64, 199])
def test_a_refused_question_is_named_even_inside_a_batch(place: int) -> None:
    refuse = at([1, place], Status(400, f"too long, you with the {KEY}"))
    with serving(Completions(trouble=refuse)) as server:
        checker = CheckingClient(server, fixed=500)
        error = checker.fails(READS)
    assert error.fact == (
        f"The server could not be asked quiz, document {place}: "
        "400 Bad Request: too long, you with the ***"
    )
    assert error.status == 400
    assert "max_model_len" in error.remedy
    assert checker.client.counts.retries == 0
    assert READS[place] not in dict(checker.received)


@pytest.mark.parametrize("questions", [ECHOES, TEXTS], ids=["echo", "generation"])
def test_a_refused_question_of_another_kind_is_named(questions: list[Question]) -> None:
    prompt = [2, 42, 7, 8] if questions is ECHOES else [3, 42]
    with serving(Completions(trouble=at(prompt, Status(422)))) as server:
        assert CheckingClient(server).fails(questions).fact.startswith(NAMED.format(42))


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "OPENAI_API_KEY"), (403, "a key that may"), (404, "/v1/models")]
)
def test_what_would_be_refused_of_every_question_comes_once(status: int, remedy: str) -> None:
    refuse = Status(status, f"no such thing for {KEY}")
    with serving(Completions(trouble=lambda number, body: refuse)) as server:
        error = CheckingClient(server, fixed=64).fails(READS)
    assert len(server.requests) == 1
    assert remedy in error.remedy
    assert error.fact.endswith("no such thing for ***")
    assert error.status == status


def test_without_a_key_the_servers_words_are_quoted_as_they_are() -> None:
    refuse = Status(401, "a key is needed")
    with serving(Completions(trouble=lambda number, body: refuse)) as server:
        server.api_key = SecretStr("")
        assert CheckingClient(server).fails().fact.endswith("401 Unauthorized: a key is needed")


@pytest.mark.parametrize(
    ("value", "says"), [(float("nan"), "not JSON"), (None, "is None"), ("gone", "KeyError")]
)
def test_a_question_that_has_no_number_is_named(value: Any, says: str) -> None:
    prompt = [1, 42]

    class Spoilt(Completions):
        def _choice(
            self, index: int, prompt_ids: list[int], body: dict[str, Any]
        ) -> dict[str, Any]:
            choice = super()._choice(index, prompt_ids, body)
            if prompt_ids == prompt:
                choice["logprobs"]["top_logprobs"][0]["token_id:2"] = value
                if value == "gone":
                    del choice["logprobs"]["top_logprobs"][0]["token_id:2"]
            return choice

    with serving(Spoilt()) as server:
        error = CheckingClient(server).fails(READS)
    assert error.fact.startswith(NAMED.format(42))
    assert says in error.fact


@pytest.mark.parametrize(
    ("trouble", "says", "status"),
    [
        (Status(500), "500 Internal Server Error: no room in the cache", 500),
        (Stall(), "no answer within 0.2 s", 408),
    ],
    ids=["500", "silent"],
)
def test_a_question_that_fails_again_and_again_is_given_up(
    trouble: Trouble, says: str, status: int
) -> None:
    with serving(Completions(trouble=at([3, 2], trouble))) as server:
        checker = CheckingClient(server, timeout=0.2 if isinstance(trouble, Stall) else 30)
        error = checker.fails(TEXTS[:4])
    assert error.fact.startswith(NAMED.format(2))
    assert error.status == status
    assert says in error.fact
    assert server.prompts.count([3, 2]) == client.ATTEMPTS


def test_a_server_that_is_busy_for_long_is_waited_for() -> None:
    def busy(number: int, body: dict[str, Any]) -> Trouble:
        return Status(429) if number < 4 * client.ATTEMPTS else None

    with serving(Completions(trouble=busy)) as server:
        checker = CheckingClient(server)
        checker.ask(TEXTS[:1])
    assert len(checker.received) == 1
    assert checker.client.counts.retries >= 4 * client.ATTEMPTS - 1


@pytest.mark.parametrize(
    ("trouble", "says", "status"),
    [
        (Drop(), "the connection was lost (ServerDisconnectedError)", None),
        (Status(429, headers={"Retry-After": "0"}), "429 Too Many Requests", 429),
    ],
    ids=["away", "busy"],
)
def test_a_server_that_stays_away_or_busy_is_given_up(
    trouble: Trouble, says: str, status: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PATIENCE_SECONDS", 0.2)
    with serving(Completions(trouble=lambda number, body: trouble)) as server:
        checker = CheckingClient(server)
        error = checker.fails(TEXTS[:1])
    assert says in error.fact
    assert error.fact.startswith(NAMED.format(0))
    assert error.status == status
    assert checker.client.counts.requests > client.ATTEMPTS  # patience is not a number of attempts
    assert checker.received == []


def test_what_was_answered_before_a_failure_is_received() -> None:
    def trouble(number: int, body: dict[str, Any]) -> Trouble:
        if body["prompt"] != [[3, 42]]:
            return None
        checker.is_enough.wait(10)
        return Status(400)

    with serving(Completions(trouble=trouble)) as server:
        checker = CheckingClient(server)
        checker.enough = 59
        assert checker.fails(TEXTS).fact.startswith(NAMED.format(42))
    assert len(checker.received) == 59


@pytest.mark.parametrize("trouble", [Stall(), Status(429, headers={"Retry-After": "60"})])
def test_a_dead_server_is_noticed_though_it_is_silent_or_wants_us_to_wait(
    trouble: Trouble,
) -> None:
    def dies(number: int, body: dict[str, Any]) -> Trouble:
        server.dead = True
        return trouble

    with (
        serving(Completions(trouble=dies)) as server,
        pytest.raises(ServerDied, match="exit code -9"),
    ):
        CheckingClient(server).ask(TEXTS)
    prompts = [tuple(prompt) for prompt in server.prompts]
    assert 0 < len(prompts) == len(set(prompts))  # none again within that minute


def test_a_signal_that_ends_the_run_is_heard_while_an_answer_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Ended(BaseException):
        pass

    def end(number: int, frame: object) -> None:
        raise Ended

    def fed(reader: StreamReader, *given: Any) -> object:
        if not sent:
            sent.append(reader)
            signal.raise_signal(signal.SIGTERM)
        return feed(reader, *given)

    sent: list[StreamReader] = []
    feed = StreamReader.feed_data
    monkeypatch.setattr(StreamReader, "feed_data", fed)
    before = signal.signal(signal.SIGTERM, end)
    try:
        with serving(Completions()) as server, pytest.raises(Ended):
            CheckingClient(server).ask()
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, before)
