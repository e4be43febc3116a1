"""Does something every few seconds beside whatever the caller waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Ticker:
    """Calls something from a thread of its own for as long as a `with` block runs.

    The first call comes after the first pause. A call that raises is the last one.
    """

    def __init__(
        self, seconds: float, do: Callable[[], object], *, patience: float | None = None
    ) -> None:
        """Prepare; nothing is called yet.

        Args:
            seconds: The pause before each call.
            do: What to call.
            patience: Seconds that the end of the block waits at most for a call that is under way;
                None waits until it is over, so that nothing is called after the block.
        """
        self._seconds = seconds
        self._do = do
        self._patience = patience
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def __enter__(self) -> Ticker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(self._patience)

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            self._do()
