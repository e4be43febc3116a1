"""What a server can do."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import TypeAlias


class Capability(StrEnum):
    """What some servers answer and others do not. Tasks and probes name what they need."""

    COMPLETIONS = "completions"
    """A text goes on from a prompt (`/v1/completions`)."""

    CHAT = "chat"
    """A conversation goes on, by the model's own template (`/v1/chat/completions`)."""

    TOKEN_PROMPTS = "token-id prompts"  # noqa: S105 -- tokens of a text
    """A prompt may be token ids, several at a time."""

    TEXT_PROMPTS = "text prompts"
    """A prompt may be text, which the server splits into tokens by itself."""

    ECHO_LOGPROBS = "echo logprobs"
    """The prompt's own tokens come back with their log-probabilities."""

    CHOSEN_LOGPROBS = "chosen-token logprobs"
    """Log-probabilities of named tokens at the next position."""

    FORCED_LOGPROBS = "forced-token logprobs"
    """The log-probability that a token would have had which a bias makes it say."""

    PROMPT_LOGPROBS = "prompt logprobs"
    """The likeliest tokens at every position of the prompt."""

    TOP_LOGPROBS = "top logprobs"
    """The likeliest tokens at each generated position, with their log-probabilities."""

    TOOLS = "tools"
    """A chat answers with a call of a function that it was offered."""

    JSON_SCHEMA = "JSON schema"
    """A chat answers with JSON of a given schema."""


Need: TypeAlias = frozenset[Capability]
"""Capabilities of which one is enough."""


def named(needs: Iterable[Need]) -> str:
    """Return needs as text: `prompt logprobs; chosen-token logprobs or echo logprobs`."""
    return "; ".join(" or ".join(sorted(need)) for need in needs)


def unmet(needs: Iterable[Need], can: Collection[Capability]) -> list[Need]:
    """Return the needs of which a server has no capability, in order, each once."""
    return [need for need in dict.fromkeys(needs) if need.isdisjoint(can)]
