"""Notices an engine that lives, but computes nothing any more.

A process that was stopped, a deadlocked driver, a collective operation that waits for a dead peer:
nothing ends, no connection breaks, and a run would wait for ever. The engine's own counters tell,
since they move with every step it computes. While they stand still it is given a question of one
token, so that an engine with nothing to do is not taken for one that hangs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

import httpx

from infra.engines.load import Names
from infra.engines.load import ask as ask_load

_LOOKS = 20
"""Within the limit, so that a look that was missed means nothing."""
_LONGEST_LOOK_SECONDS = 5.0


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
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            root: Address of the server, without `/v1`.
            model: Name it serves the model under.
            api_key: Its key.
            engines: What it may call its counters.
            limit_seconds: How long it may compute nothing while something is asked.
        """
        self._root = root
        self._model = model
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._engines = engines
        self._limit = limit_seconds
        self._pause = min(_LONGEST_LOOK_SECONDS, limit_seconds / _LOOKS)
        self._done = threading.Event()
        self._hung = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    @property
    def hung(self) -> bool:
        """Whether the engine has computed nothing for the whole limit."""
        return self._hung.is_set()

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(1.0)  # it may wait for a server that hangs; it ends by itself

    def _watch(self) -> None:
        last, still, before = None, 0.0, time.monotonic()
        with httpx.Client(
            base_url=self._root, headers=self._headers, timeout=self._pause, trust_env=False
        ) as client:
            while not self._done.wait(self._pause):
                work = self._work()
                now = time.monotonic()
                # A machine that slept wakes up hours later: that is not the engine's silence.
                still += min(now - before, 3 * self._pause)
                before = now
                if work is not None and work != last:
                    last, still = work, 0.0
                elif still > self._limit:
                    self._hung.set()
                    return
                elif still > self._limit / 2:
                    self._ask(client)

    def _work(self) -> float | None:
        """Return a number that grows with every step; none if nobody answers."""
        load = ask_load(self._root, self._headers, self._engines, seconds=self._pause)
        return load.computed if load else None

    def _ask(self, client: httpx.Client) -> None:
        body = {"model": self._model, "prompt": [0], "max_tokens": 1, "temperature": 0}
        try:
            client.post("/v1/completions", json=body)
        except httpx.HTTPError:
            return  # the counters say whether it was computed
