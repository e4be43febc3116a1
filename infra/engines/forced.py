"""One position that a server generates, and the token that it is made to generate there.

A bias of `BIAS` on one token has a server choose it at temperature 0, whatever it would have said.
llama.cpp and vLLM return the log-probability that the token had without the bias: that of a choice
after its question. `proof` tells whether a server really does.

Answers come in two shapes: chats' (`logprobs.content`, tokens with their ids), which llama.cpp has
for completions too, and that of completions, whose tokens are `token_id:N` where
`return_tokens_as_token_ids` is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BIAS = 10_000
"""Beyond every logit, and far below what a float32 still adds one to."""

TOP = 20
"""Likeliest tokens to ask for: what engines return by default at most."""

_KEY = "token_id:"

_LEAST = -1e30
"""llama.cpp says the lowest float32 where a probability was rounded to 0: how unlikely its token
is, and so which of two is likelier, nobody knows."""


class Malformed(Exception):
    """The answer does not fit the request; the message says how, without quoting prompts."""


@dataclass(frozen=True, slots=True)
class Position:
    """What a server says of one generated position. Log-probabilities are in nats."""

    token: int
    """The one it generated."""

    value: float
    """Its log-probability."""

    top: Mapping[int, float]
    """The likeliest tokens there; among them the generated one only if it is that likely."""

    @property
    def best(self) -> float:
        """The highest log-probability at this position."""
        return max(self.top.values())

    def known(self) -> dict[int, float]:
        """Return every token of which the server said how likely it is."""
        return {**self.top, self.token: self.value}


def body(
    model: str,
    prompts: Sequence[Sequence[int]],
    *,
    token: int | None = None,
    tokens: int = 1,
    top: int = TOP,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the body that asks for what follows prompts, always the likeliest.

    Args:
        model: The served model's name.
        prompts: Token ids.
        token: The one to generate after every prompt; none leaves that to the model.
        tokens: How many to generate.
        top: How many of the likeliest to list at each position.
        seed: Sent along; nothing is drawn by chance at temperature 0.
    """
    asked = {
        "model": model,
        "prompt": [list(prompt) for prompt in prompts],
        "temperature": 0,
        "max_tokens": tokens,
        "seed": seed,
        "logprobs": top,
        "return_tokens_as_token_ids": True,
    }
    return asked if token is None else {**asked, "logit_bias": {str(token): BIAS}}


def positions(answer: Any, prompts: int) -> list[list[Position]]:
    """Return what was generated after each prompt, in their order.

    Args:
        answer: What the server answered, as JSON.
        prompts: How many there were.

    Raises:
        Malformed: A choice is missing, or a number is missing or not finite.
    """
    try:
        choices = {choice["index"]: choice for choice in answer["choices"]}
        return [_positions(choices[number]["logprobs"]) for number in range(prompts)]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise Malformed(f"{type(error).__name__}: {error}") from None


def _positions(logprobs: Any) -> list[Position]:
    if not isinstance(logprobs, Mapping):
        raise Malformed("it comes without log-probabilities")
    if "content" in logprobs:
        return [
            Position(
                int(entry["id"]),
                finite(entry["logprob"]),
                {int(one["id"]): finite(one["logprob"]) for one in entry["top_logprobs"]},
            )
            for entry in logprobs["content"]
        ]
    columns = (logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"])
    return [
        Position(
            _token(token), finite(value), {_token(name): finite(one) for name, one in top.items()}
        )
        for token, value, top in zip(*columns, strict=True)
    ]


def _token(name: str) -> int:
    if not name.startswith(_KEY):
        raise Malformed("it names tokens by their text, which several may share")
    return int(name.removeprefix(_KEY))


def finite(value: Any) -> float:
    """Return a log-probability.

    Raises:
        Malformed: It is no finite number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Malformed(f"a log-probability is {value!r}")
    if value < _LEAST:
        raise Malformed(f"a log-probability is {value!r}: the probability fell below what it holds")
    return value
