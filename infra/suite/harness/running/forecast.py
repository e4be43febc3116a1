"""How long a task will take, said while it begins."""

from __future__ import annotations

import time
from collections.abc import Callable

from infra.contracts.wording import duration

_FIRST = 10.0
"""Seconds that are measured before anything is said: the first answers come slower than others."""

_AGAIN = 6
"""How many times as long is measured before it is said again, since questions differ in length."""

_FEWEST = 16
"""Answers from which a pace can be told."""

_SHORT = 30.0
"""Seconds of which nobody needs to be told."""


class Forecast:
    """Says how long what is left will take, by the pace of what was answered so far."""

    def __init__(
        self,
        name: str,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make one when asking begins.

        Args:
            name: Of the task.
            say: Hears the forecast.
            clock: Tells seconds.
        """
        self._name = name
        self._say = say
        self._clock = clock
        self._began: tuple[float, int] | None = None
        self._wait = _FIRST

    def look(self, done: int, total: int | None) -> None:
        """Take note of how many questions are answered; say what is to be expected of the others.

        Args:
            done: Answered; those that an earlier run had answered are there at once.
            total: All of them; none while nobody knows.
        """
        now = self._clock()
        if not total or done >= total:
            return
        if self._began is None:
            self._began = now, done
        began, before = self._began
        answered = done - before
        if now - began < self._wait or answered < _FEWEST:
            return
        self._wait = (now - began) * _AGAIN
        pace = answered / (now - began)
        left = (total - done) / pace
        if left >= _SHORT:
            self._say(
                f"{self._name}: about {duration(left)} for the {total - done:,} of {total:,} "
                f"questions that are left, at {pace:.3g} a second"
            )
