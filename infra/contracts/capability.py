"""What a server can be asked for."""

from __future__ import annotations

from enum import StrEnum


class Capability(StrEnum):
    """What some servers answer and others do not. Tasks and probes name what they need."""

    COMPLETIONS = "completions"
    """A text goes on from a prompt (`/v1/completions`)."""

    CHAT = "chat"
    """A conversation goes on, by the model's own template (`/v1/chat/completions`)."""

    TOKEN_PROMPTS = "token-id prompts"  # noqa: S105 -- tokens of a text
    """A prompt may be token ids, several at a time."""

    ECHO_LOGPROBS = "echo logprobs"
    """The prompt's own tokens come back with their log-probabilities."""

    CHOSEN_LOGPROBS = "chosen-token logprobs"
    """Log-probabilities of named tokens at the next position."""

    PROMPT_LOGPROBS = "prompt logprobs"
    """The likeliest tokens at every position of the prompt."""
