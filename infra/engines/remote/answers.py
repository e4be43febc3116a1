"""Answers of completions and chats, in whichever of the shapes that servers give them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ID = "token_id:"


@dataclass(frozen=True)
class Step:
    """One generated token."""

    text: str
    token: int | None
    """Its id, where the server tells it."""

    logprob: float
    top: Mapping[str, float]
    """The likeliest tokens there, by their text or `token_id:N`."""


@dataclass(frozen=True)
class Written:
    """What an endpoint wrote."""

    text: str
    ended: str | None
    steps: tuple[Step, ...] | None
    """None where it gives no log-probabilities, or such as cannot be read."""

    model: str
    prompt_tokens: int | None
    answer_tokens: int | None


def written(answer: Mapping[str, Any]) -> Written:
    """Read the first choice of a completion or a chat; whatever is missing is none or empty."""
    choice = answer["choices"][0]
    choice = choice if isinstance(choice, dict) else {}
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Written(
        text=text if isinstance(text, str) else "",
        ended=choice.get("finish_reason"),
        steps=_steps(choice.get("logprobs")),
        model=answer["model"] if isinstance(answer.get("model"), str) else "",
        prompt_tokens=_number(usage.get("prompt_tokens")),
        answer_tokens=_number(usage.get("completion_tokens")),
    )


def _steps(logprobs: Any) -> tuple[Step, ...] | None:
    try:
        if isinstance(logprobs.get("content"), list):
            return tuple(_chat_step(one) for one in logprobs["content"])
        tops = logprobs.get("top_logprobs") or [{}] * len(logprobs["tokens"])
        return tuple(
            Step(str(text), token_of(str(text)), _finite(value), dict(top or {}))
            for text, value, top in zip(
                logprobs["tokens"], logprobs["token_logprobs"], tops, strict=True
            )
        )
    except (AttributeError, LookupError, TypeError, ValueError):
        return None


def _chat_step(one: Mapping[str, Any]) -> Step:
    top = {str(other["token"]): _finite(other["logprob"]) for other in one["top_logprobs"] or ()}
    return Step(str(one["token"]), _number(one.get("id")), _finite(one["logprob"]), top)


def token_of(text: str) -> int | None:
    """Return N of `token_id:N`."""
    number = text.removeprefix(_ID)
    return int(number) if number != text and number.isdecimal() else None


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"a log-probability is {value!r}")
    return float(value)


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
