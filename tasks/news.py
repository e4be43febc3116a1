"""What Prefect hears of a run beside its states, from a thread of its own: no step waits for it."""

from __future__ import annotations

import contextvars
import functools
import queue
import threading
from collections.abc import Callable
from contextlib import suppress

from prefect.logging import get_run_logger

_Call = tuple[contextvars.Context, Callable[[], object]]


def pass_on(call: Callable[[], object], context: contextvars.Context | None = None) -> None:
    """Call the Prefect API once all that was passed on before has been heard.

    Whatever comes of it, the run goes on: without the Prefect API only the news is lost.

    Args:
        call: What calls it.
        context: Of the task run that it is about; that of the caller if not given.
    """
    _calls().put((context or contextvars.copy_context(), call))


def delivered(seconds: float) -> None:
    """Wait until what was passed on has arrived, but no longer than so many seconds."""
    arrived = threading.Event()
    pass_on(arrived.set)
    arrived.wait(seconds)


@functools.cache
def _calls() -> queue.SimpleQueue[_Call]:
    """Return what waits to be called; a thread that does not outlive the process takes from it."""
    waiting: queue.SimpleQueue[_Call] = queue.SimpleQueue()

    def work() -> None:
        while True:
            context, call = waiting.get()
            context.run(_heard, call)

    threading.Thread(target=work, name="news", daemon=True).start()
    return waiting


def _heard(call: Callable[[], object]) -> None:
    try:
        call()
    except Exception as error:
        with suppress(Exception):  # outside of a run there is no logger; the next call is heard
            get_run_logger().warning(f"Prefect does not show everything: {error}")
