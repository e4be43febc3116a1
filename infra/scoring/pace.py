"""How many questions are in flight: found from the server's own counters, not asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass

START = 128
MOST = 4096
_FULL_CACHE = 0.9
_PAUSE = 4
"""Looks at the counters after backing off before the limit may change again."""

_LINE = re.compile(r"^vllm:(\w+)(?:\{[^}]*\})?\s+(\S+)", re.MULTILINE)
_RUNNING, _WAITING = "num_requests_running", "num_requests_waiting"
_CACHE, _PREEMPTIONS = "kv_cache_usage_perc", "num_preemptions_total"


@dataclass(frozen=True, slots=True)
class Load:
    """What the server says of itself in `/metrics`."""

    running: float
    """Sequences being computed."""

    waiting: float
    """Sequences in its queue."""

    cache: float
    """Share of the key-value cache in use, 0 to 1."""

    preemptions: float
    """Sequences thrown out of the cache since the start, to be computed again."""

    @classmethod
    def of(cls, metrics: str) -> Load | None:
        """Read vLLM's Prometheus text; None if it is not vLLM's. Engines are added up."""
        found: dict[str, float] = {}
        for name, value in _LINE.findall(metrics):
            if name == _CACHE:
                found[name] = max(found.get(name, 0.0), float(value))
            elif name in (_RUNNING, _WAITING, _PREEMPTIONS):
                found[name] = found.get(name, 0.0) + float(value)
        if _RUNNING not in found or _WAITING not in found:
            return None
        return cls(
            found[_RUNNING], found[_WAITING], found.get(_CACHE, 0.0), found.get(_PREEMPTIONS, 0.0)
        )


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
            in_flight: Questions that are asked and not answered.
        """
        before, self._preemptions = self._preemptions, load.preemptions
        resting = self.rest()
        if before is not None and load.preemptions > before:
            self.back_off()
        elif (
            not resting
            and in_flight >= self.limit / 2  # else it is not the limit that holds us back
            and load.waiting <= load.running / 4
            and load.cache < _FULL_CACHE
        ):
            self._set(self.limit * 2)

    def rest(self) -> bool:
        """Let a look pass, and tell whether the limit still rests after it was halved."""
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
