"""What goes over the wire to an engine, and how its answers are read.

Texts go on from tokens by `/v1/completions`, chats with functions by `/v1/chat/completions`.

`logprob_token_ids`, which not every engine knows (`can_read` finds out), returns the
log-probabilities of exactly these tokens at the generated position. With
`return_tokens_as_token_ids` keys come as `token_id:N`, so that two tokens of the same text stay
apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from infra.engines.forced import Malformed, finite
from infra.scoring.plan import Answer, Echo, Item, Read, Score
from infra.scoring.tokens import Packed, unpack

_KEY = "token_id:"


@dataclass(frozen=True, slots=True)
class Generation:
    """A text to be generated after a prompt."""

    prompt: Packed
    settings: str
    """The rest of the request's body as JSON: token limit, temperature, stop strings, seed."""


@dataclass(frozen=True, slots=True)
class ChatGeneration(Generation):
    """A message to be written after others, with functions that may be called instead.

    `prompt` holds messages and functions as JSON in UTF-8: the engine's own template renders them.
    """


Question: TypeAlias = Item | Generation
Text: TypeAlias = tuple[str | None, str | None]
"""Generated text, and why it ended: `stop`, `length`, …; none where the server gives none. Of a
chat with functions, the text is JSON: `content`, and `calls` with name and arguments as written."""

Reply: TypeAlias = Answer | Text


def body(model: str, questions: Sequence[Question], *, seed: int) -> dict[str, Any]:
    """Return the body that asks questions of one kind; see `batches` for what goes together.

    Args:
        model: The served model's name.
        questions: All reads, all echoes, or all generations of the same settings.
        seed: Sent along as stock does; nothing is drawn by chance at temperature 0.
    """
    first = questions[0]
    if isinstance(first, ChatGeneration):
        return {"model": model, **json.loads(first.prompt), **json.loads(first.settings)}
    prompts = [unpack(question.prompt) for question in questions]
    if isinstance(first, Generation):
        return {"model": model, "prompt": prompts, **json.loads(first.settings)}
    common = {"model": model, "prompt": prompts, "temperature": 0, "max_tokens": 1, "seed": seed}
    if isinstance(first, Echo):
        return {**common, "logprobs": 1, "echo": True}
    wanted = wanted_by(questions)
    return {
        **common,
        "logprobs": len(wanted),
        "logprob_token_ids": wanted,
        "return_tokens_as_token_ids": True,
    }


def wanted_by(questions: Sequence[Question]) -> list[int]:
    """Return the tokens that some of these reads ask for, in order."""
    return sorted({token for q in questions if isinstance(q, Read) for token in q.wanted})


def replies(questions: Sequence[Question], answer: Any) -> list[Reply]:
    """Return what the server said to each question, in order.

    Raises:
        Malformed: A choice is missing, or a number is missing or not finite.
    """
    try:
        choices = {choice["index"]: choice for choice in answer["choices"]}
        return [_reply(question, choices[i]) for i, question in enumerate(questions)]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise Malformed(f"{type(error).__name__}: {error}") from None


def _reply(question: Question, choice: Mapping[str, Any]) -> Reply:
    if isinstance(question, ChatGeneration):
        return _said(choice["message"]), choice.get("finish_reason")
    if isinstance(question, Generation):
        return choice["text"], choice.get("finish_reason")
    if isinstance(question, Echo):
        return _echoed(question, choice["logprobs"])
    return _read(question, choice["logprobs"])


def _said(message: Mapping[str, Any]) -> str:
    """Return a message of a chat as JSON: its words, and the calls it makes."""
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    return json.dumps(
        {
            "content": str(message.get("content") or ""),
            "calls": [
                {"name": str(one["name"]), "arguments": str(one.get("arguments") or "")}
                for one in calls
            ],
        },
        ensure_ascii=False,
    )


def _read(question: Read, logprobs: Mapping[str, Any]) -> dict[int, Score]:
    found, best = logprobs["top_logprobs"][0], finite(logprobs["token_logprobs"][0])
    # At temperature 0 the generated token is one of the likeliest; an equal value is a tie, which
    # lm-eval counts as greedy.
    return {
        token: (value, value >= best)
        for token in question.wanted
        for value in [finite(found[f"{_KEY}{token}"])]
    }


def _echoed(question: Echo, logprobs: Mapping[str, Any]) -> Score:
    """Read an echo as `LocalCompletionsAPI.parse_logprobs` of lm-eval 0.4.13 does.

    The last entry belongs to the one generated token.
    """
    values = logprobs["token_logprobs"]
    length = len(question.prompt) // 4
    if len(values) != length + 1:
        raise Malformed(f"{len(values)} log-probabilities for {length} tokens and one generated")
    terms = [finite(value) for value in values[question.start : -1]]
    tops = logprobs["top_logprobs"][question.start : -1]
    greedy = all(term == max(top.values()) for term, top in zip(terms, tops, strict=True))
    return sum(terms), greedy


def probe(model: str) -> dict[str, Any]:
    """Return a request that tells whether the server can read chosen tokens."""
    return body(model, [Read(b"\0\0\0\1", (0, 1))], seed=0)


def can_read(answer: Any) -> bool:
    """Return from the answer to the probe whether chosen tokens were read."""
    try:
        replies([Read(b"\0\0\0\1", (0, 1))], answer)
    except Malformed:
        return False
    return True
