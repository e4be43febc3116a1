"""Memory that GPUs hold, by the processes for which the driver says they hold it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Set

from infra.machine.device import memory_holders

_MIB = 2**20
_SECONDS = 0.5


@contextlib.contextmanager
def seen() -> Iterator[Set[int]]:
    """Collect, as long as the block runs, the processes for which a GPU was seen to hold memory.

    Beside it, because a driver takes its time, and a run is to be hurt at a certain moment.
    """
    found: set[int] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(_SECONDS):
            with contextlib.suppress(TimeoutError):
                found.update(memory_holders())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()  # it may still be asking: nobody waits for that


def await_free(pids: Set[int], seconds: float) -> dict[int, int]:
    """Wait until no GPU holds memory for processes, at most so long; return MiB of each it does."""
    deadline = time.monotonic() + seconds
    while held := {pid: size for pid, size in memory_holders().items() if pid in pids}:
        if time.monotonic() > deadline:
            return {pid: -(-size // _MIB) for pid, size in held.items()}
        time.sleep(_SECONDS)
    return {}
