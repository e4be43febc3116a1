"""What a served model answers to the prompts, and how likely it finds given answers.

A few plain requests in all: exact numbers for every token matter here and speed does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx

from infra.contracts.errors import ServerUnverified
from infra.contracts.records import Record
from infra.engines.connection import connect
from infra.engines.endpoint import Endpoint

ANSWER_TOKENS = 48
"""Longest answer, tokens."""

_PROMPTS_A_REQUEST, _READS_A_REQUEST = 64, 4
"""The answer to a read takes about 100 bytes a token, and the server's time to write it."""
_SECONDS = 600.0
_LONGEST_PERIOD, _LEAST_REPEATS, _LEAST_LOOP = 8, 4, 16


Tell = Callable[[int], None]
"""Hears how many are done."""


class Answer(Record):
    """What a model wrote after one prompt, greedily."""

    prompt: tuple[int, ...]
    """Token ids, as all tokens here."""

    tokens: tuple[int, ...]
    """With the one that ended it, if it ended by itself."""

    empty: bool
    """Nothing but whitespace."""

    ended: bool
    """By itself, before `ANSWER_TOKENS`."""

    @classmethod
    def none(cls, prompt: Sequence[int]) -> Answer:
        """Return no answer to a prompt: for reading the prompt alone."""
        return cls(prompt=tuple(prompt), tokens=(), empty=True, ended=False)

    @property
    def loops(self) -> bool:
        """Whether it ends in the same few tokens again and again."""
        return loops(self.tokens)


class Reading(Record):
    """How a model finds a given text after a prompt."""

    prompt: float
    """Sum of log-probabilities of the prompt's tokens, from the second on, nats."""

    prompt_tokens: int
    """How many these are."""

    logprobs: tuple[float, ...]
    """Log-probability of each token of the text, nats."""

    greedy: tuple[bool, ...]
    """Whether this is the token it would have written there itself."""


def ask(server: Endpoint, prompts: Sequence[Sequence[int]], tell: Tell) -> list[Answer]:
    """Let a model answer every prompt.

    Args:
        server: Serves it.
        prompts: Token ids.
        tell: Hears how many are answered.

    Raises:
        ServerUnverified: The server does not answer.
    """
    settings = {"max_tokens": ANSWER_TOKENS, "logprobs": 0}
    answers = []
    for prompt, choice in _complete(server, prompts, _PROMPTS_A_REQUEST, settings, tell):
        tokens = [_token(name) for name in choice["logprobs"]["tokens"]]
        answers.append(
            Answer(
                prompt=tuple(prompt),
                tokens=tuple(tokens),
                empty=not choice["text"].strip(),
                ended=choice["finish_reason"] == "stop",
            )
        )
    return answers


def read(server: Endpoint, answers: Sequence[Answer], tell: Tell) -> list[Reading]:
    """Let a model read answers, its own or another's, token by token.

    Args:
        server: Serves it.
        answers: What it reads, each after its prompt.
        tell: Hears how many are read.

    Raises:
        ServerUnverified: The server does not answer.
    """
    texts = [[*answer.prompt, *answer.tokens] for answer in answers]
    settings = {"max_tokens": 1, "logprobs": 1, "echo": True}
    readings = []
    for place, (text, choice) in enumerate(
        _complete(server, texts, _READS_A_REQUEST, settings, tell)
    ):
        start = len(answers[place].prompt)
        values = choice["logprobs"]["token_logprobs"][: len(text)]
        tops = choice["logprobs"]["top_logprobs"][start : len(text)]
        own = values[start:]
        readings.append(
            Reading(
                prompt=sum(values[1:start]),
                prompt_tokens=start - 1,
                logprobs=tuple(own),
                # An equal value is a tie, which may be decided either way.
                greedy=tuple(
                    value >= max(top.values()) for value, top in zip(own, tops, strict=True)
                ),
            )
        )
    return readings


def loops(tokens: Sequence[int]) -> bool:
    """Tell whether a text ends in at most 8 tokens that come four times or more, 16 at least."""
    for period in range(1, _LONGEST_PERIOD + 1):
        length = max(_LEAST_REPEATS * period, _LEAST_LOOP)
        tail = tokens[-length:]
        if len(tail) == length and tail[period:] == tail[:-period]:
            return True
    return False


def _complete(
    server: Endpoint,
    prompts: Sequence[Sequence[int]],
    at_a_time: int,
    settings: dict[str, Any],
    tell: Tell,
) -> Iterator[tuple[Sequence[int], dict[str, Any]]]:
    common = {"model": server.model, "temperature": 0, "return_tokens_as_token_ids": True}
    with connect(server.base_url, server.headers, seconds=_SECONDS) as client:
        for start in range(0, len(prompts), at_a_time):
            part = [list(prompt) for prompt in prompts[start : start + at_a_time]]
            try:
                answer = client.post("/completions", json={"prompt": part, **common, **settings})
                answer.raise_for_status()
                choices = {choice["index"]: choice for choice in answer.json()["choices"]}
                found = [choices[place] for place in range(len(part))]
            except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
                raise _unanswered(error) from None  # the exception may hold the request's headers
            yield from zip(part, found, strict=True)
            tell(start + len(part))


def _unanswered(error: Exception) -> ServerUnverified:
    status = (
        f"status {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else ""
    )
    return ServerUnverified(
        f"The server did not answer the prompts of triage ({status or type(error).__name__}).",
        remedy="Read the server's log for what went wrong there. "
        "Without evaluation.triage.enabled it is not asked them.",
    )


def _token(name: str) -> int:
    return int(name.removeprefix("token_id:"))
