"""Ends this process in order when the one that started it is gone.

A worker that is killed tells its runs nothing. Prefect cancels a run through its worker, so a run
without one holds its accelerators, and nobody can make it let go.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time

GRACE_SECONDS = 5.0
"""A parent that ends in order ends its children itself, and is gone before they are."""


def end_with(pid: int, *, grace_seconds: float = GRACE_SECONDS) -> bool:
    """Send this process SIGTERM some seconds after another one has ended, if it still lives then.

    Args:
        pid: Process to follow; usually the parent.
        grace_seconds: How many.

    Returns:
        False if that process is already gone, or cannot be followed here.
    """
    try:
        # Unlike the process id, it never means another process later.
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return False

    def follow() -> None:
        select.select([descriptor], [], [])
        os.close(descriptor)
        time.sleep(grace_seconds)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, name="follow-parent", daemon=True).start()
    return True
