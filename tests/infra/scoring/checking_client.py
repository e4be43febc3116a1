"""A client that checks all it receives; questions for it, and requests for a model."""

from __future__ import annotations

import threading
import traceback
from collections import Counter
from collections.abc import Sequence
from typing import Any

import psutil
import pytest
from lm_eval.api.instance import Instance

from infra.contracts.errors import RequestFailed
from infra.scoring.batches import batches
from infra.scoring.client import Client
from infra.scoring.pace import Pace
from infra.scoring.plan import Echo, Read
from infra.scoring.protocol import Generation, Question, Reply, body, replies
from infra.scoring.tokens import pack
from tests.infra.suite.harness.completions_server import Completions

KEY = "the-key-of-this-run"
READS: list[Question] = [Read(pack([1, n]), (1, 2, 3)) for n in range(200)]
ECHOES: list[Question] = [Echo(pack([2, n, 7, 8]), 2) for n in range(60)]
TEXTS: list[Question] = [Generation(pack([3, n]), '{"max_tokens": 5}') for n in range(60)]
EVERYTHING = READS + ECHOES + TEXTS


class CheckingClient:
    """A client, and what it received."""

    def __init__(self, server: Any, fixed: int | None = None, timeout: float = 30) -> None:
        self.server = server
        self.pace = Pace(fixed)
        self.said: list[str] = []
        self.client = Client(server, pace=self.pace, seed=3, timeout=timeout, say=self.said.append)
        self.received: list[tuple[Question, Reply]] = []
        self.enough, self.is_enough = 0, threading.Event()

    def receive(self, answered: Sequence[tuple[Question, Reply]]) -> None:
        self.received += answered
        if len(self.received) == self.enough:
            self.is_enough.set()

    def ask(self, questions: Sequence[Question] = EVERYTHING) -> None:
        """Ask; afterwards nothing was received twice, wrongly, or with a connection left open."""
        names = {question: f"quiz, document {n}" for n, question in enumerate(questions)}
        try:
            self.client.ask(batches(questions), self.receive, names.__getitem__)
        finally:
            right = [(question, truth(question)) for question, _ in self.received]
            assert self.received == right
            assert max(Counter(q for q, _ in self.received).values(), default=1) == 1
            assert connections(self.server.base_url) == 0
        assert {question for question, _ in self.received} == set(questions)

    def fails(self, questions: Sequence[Question] = EVERYTHING) -> RequestFailed:
        with pytest.raises(RequestFailed) as failed:
            self.ask(questions)
        shown = [*traceback.format_exception(failed.value), repr(vars(failed.value))]
        assert KEY not in "".join(shown)
        return failed.value


def truth(question: Question) -> Reply:
    sent = body("tiny", [question], seed=3)
    return replies([question], Completions().complete(sent))[0]


def connections(base_url: str) -> int:
    """Return how many connections to a server this process holds open."""
    port = int(base_url.rpartition(":")[2].partition("/")[0])
    every = psutil.Process().net_connections("tcp")
    return sum(bool(each.raddr) and each.raddr.port == port for each in every)


# --- for models ----------------------------------------------------------------------------

WINDOW = 300


def likely(prompt: list[int]) -> str:
    """Return a text that depends on the whole prompt."""
    return f"That makes {sum(prompt) % 97}.\n#### {len(prompt)}"


def requests(kind: str, *arguments: tuple[Any, ...]) -> list[Instance]:
    """Return requests of lm-eval, each of a document of its own."""
    return [
        Instance(kind, {}, given, 0, metadata=("quiz", number, 1))  # type: ignore[arg-type]
        for number, given in enumerate(arguments)
    ]


def long(tokens: int) -> str:
    """Return a text of so many bytes that does not repeat itself."""
    return "".join(chr(97 + n * n % 23) for n in range(tokens))
