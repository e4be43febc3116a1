"""How many questions are in flight: found from the server's own counters."""

from __future__ import annotations

from infra.engines.load import Load

START = 128
MOST = 4096
_FULL_CACHE = 0.9
_PAUSE = 4
"""Looks at the counters after backing off before the limit may change again."""


class Pace:
    """A limit that doubles while the server takes all it is given, and halves when it chokes.

    The server is saturated when questions wait in its queue: more of them would only wait longer.
    It chokes when it throws sequences out of its cache, or refuses with 429 or 503.
    """

    def __init__(self, fixed: int | None = None) -> None:
        """Begin.

        Args:
            fixed: Questions in flight, if the user named a number; it is kept whatever happens.
        """
        self.fixed = fixed
        self.limit = fixed or START
        self.highest = self.limit
        self._preemptions: float | None = None
        self._pause = 0

    def follow(self, load: Load, in_flight: int) -> None:
        """Adjust to what the server says.

        Args:
            load: Its counters.
            in_flight: Questions that are sent and not answered.
        """
        before, self._preemptions = self._preemptions, load.preemptions
        resting = self.rest()
        if before is not None and load.preemptions > before:
            self.back_off()
        elif (
            not resting
            and in_flight >= self.limit / 2  # else it is not the limit that holds us back
            and load.waiting <= load.running / 4
            and (load.cache or 0.0) < _FULL_CACHE
        ):
            self._set(self.limit * 2)

    def rest(self) -> bool:
        """Let a look pass, and return whether the limit still rests after it was halved."""
        resting = self._pause > 0
        self._pause -= resting
        return resting

    def back_off(self) -> None:
        """Halve the limit: the server refused for now, or threw sequences out of its cache.

        What comes soon after is of the same load, and halves it no further.
        """
        if not self._pause:
            self._set(self.limit // 2)
            self._pause = _PAUSE

    def _set(self, limit: int) -> None:
        if self.fixed is None:
            self.limit = min(max(limit, 1), MOST)
            self.highest = max(self.highest, self.limit)
