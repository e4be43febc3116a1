"""Notices an engine that lives, but computes nothing any more.

A process that was stopped, a deadlocked driver, a collective operation that waits for a dead peer:
nothing ends, no connection breaks, and a run would wait for ever. The engine's own counters tell,
since they move with every step it computes. While they stand still it is given a question of one
token, so that an engine with nothing to do is not taken for one that hangs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import httpx

from infra.engines.connection import connect
from infra.engines.load import Names
from infra.engines.load import ask as ask_load
from infra.machine.ticker import Ticker

_LOOKS = 20
"""Within the limit, so that a look that was missed means nothing."""
_LONGEST_LOOK_SECONDS = 5.0

ONE_TOKEN: tuple[str, Mapping[str, Any]] = (
    "/v1/completions",
    {"prompt": [0], "max_tokens": 1, "temperature": 0},
)
"""Of a server that writes texts."""


class Watchdog:
    """Looks at one server from a thread of its own."""

    def __init__(
        self,
        root: str,
        model: str,
        api_key: str,
        engines: Collection[Names],
        *,
        limit_seconds: float,
        question: tuple[str, Mapping[str, Any]] = ONE_TOKEN,
    ) -> None:
        """Prepare; nothing is requested yet.

        Args:
            root: Address of the server, without `/v1`.
            model: Name it serves the model under.
            api_key: Its key.
            engines: What it may call its counters.
            limit_seconds: How long it may compute nothing while requests wait.
            question: Path and body, without the model's name, of what makes it compute.
        """
        self._root = root
        self._model = model
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._engines = engines
        self._limit = limit_seconds
        self._question = question
        self._pause = min(_LONGEST_LOOK_SECONDS, limit_seconds / _LOOKS)
        self._hung = threading.Event()
        # It may wait for a server that hangs; such a look ends by itself.
        self._ticker = Ticker(self._pause, self._look, patience=1.0)
        self._last: float | None = None
        self._still = 0.0
        self._before = time.monotonic()

    @property
    def hung(self) -> bool:
        """Whether the engine has computed nothing for the whole limit."""
        return self._hung.is_set()

    def __enter__(self) -> Watchdog:
        self._before = time.monotonic()
        self._ticker.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._ticker.__exit__()

    def _look(self) -> None:
        if self.hung:
            return
        work = self._work()
        now = time.monotonic()
        # A machine that slept wakes up hours later: that is not the engine's silence.
        self._still += min(now - self._before, 3 * self._pause)
        self._before = now
        if work is not None and work != self._last:
            self._last, self._still = work, 0.0
        elif self._still > self._limit:
            self._hung.set()
        elif self._still > self._limit / 2:
            self._ask()

    def _work(self) -> float | None:
        """Return a number that grows with every step; none if nobody answers."""
        load = ask_load(self._root, self._headers, self._engines, seconds=self._pause)
        return load.computed if load else None

    def _ask(self) -> None:
        path, body = self._question
        with (
            suppress(httpx.HTTPError),  # the counters say whether it was computed
            connect(self._root, self._headers, seconds=self._pause) as client,
        ):
            client.post(path, json={"model": self._model, **body})
