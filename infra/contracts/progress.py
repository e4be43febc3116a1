"""How a long step tells that it lives, whoever listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives news of a long step. Called often, from any thread: the receiver throttles."""

    def say(self, text: str) -> None:
        """Tell one line."""

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        """Tell that `done` of `total` units of `what` are finished."""


class Silent:
    """Receives news and drops it."""

    def say(self, text: str) -> None:
        """Drop it."""

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        """Drop it."""
