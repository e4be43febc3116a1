"""Signals that end this process, and how they are heard.

A signal becomes an exception wherever this process is at that moment. Where that is the destructor
of an object, or what is called when a weak reference dies, Python prints the exception and goes on
(`sys.unraisablehook`): a run that was interrupted would take an accelerator all the same. Programs
that import much destroy thousands of objects in their first seconds.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

T = TypeVar("T")

_AGAIN_SECONDS = 0.1
"""Until what was interrupted there is over."""


def hear() -> None:
    """Have a signal sent once more whose exception is lost; from now on, as long as this lives."""
    if not isinstance(sys.unraisablehook, _Hears):
        sys.unraisablehook = _Hears(sys.unraisablehook)


def say_in_one_line() -> None:
    """Have an interrupt that nobody handles said in a line, instead of where it happened.

    Python ends by it as ever: what is registered for the end is done, and then this process is
    one that SIGINT has ended, so that a loop of a shell ends with it.
    """
    before = sys.excepthook

    def say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            before(kind, error, trace)
            return
        # Another one now would be an error of this hook, and Python would print both in full.
        heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            print("assay: interrupted; whatever was finished is kept", file=sys.stderr)
            for note in getattr(error, "__notes__", ()):
                print(note, file=sys.stderr)
        finally:
            signal.signal(signal.SIGINT, heard)

    sys.excepthook = say


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do as `asyncio.run`, and hear SIGTERM as that hears SIGINT.

    What a handler raises in a callback of the loop, the loop logs or takes for a lost connection,
    and goes on: of the signals that came while answers came, every tenth was lost. Here the work is
    cancelled, and the handler is called once the loop is over.
    """
    import asyncio

    handler = signal.getsignal(signal.SIGTERM)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        return asyncio.run(work)
    came = False

    async def cancellable() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 -- this is one

        def end(number: int, frame: FrameType | None) -> None:
            nonlocal came
            came = True
            if not task.done():
                task.cancel()
                loop.call_soon_threadsafe(lambda: None)  # it may wait for something else

        signal.signal(signal.SIGTERM, end)
        return await work

    try:
        return asyncio.run(cancellable())
    finally:
        signal.signal(signal.SIGTERM, handler)
        if came:
            signal.raise_signal(signal.SIGTERM)


class _Hears:
    def __init__(self, before: Callable[[UnraisableHookArgs], object]) -> None:
        self._before = before

    def __call__(self, lost: UnraisableHookArgs) -> None:
        try:
            number = _signal_of(lost.exc_value)
            if number is None:
                self._before(lost)
                return
        except KeyboardInterrupt:  # one more, which Python would lose as well
            number = signal.SIGINT
        # A `Thread` takes locks when it starts, which whoever was interrupted may hold.
        _thread.start_new_thread(_send_again, (number,))


def _signal_of(error: BaseException | None) -> int | None:
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGINT
    if error is None or isinstance(error, Exception):
        return None
    number = getattr(error, "signal", None)  # Prefect's TerminationSignal says which
    return number if isinstance(number, int) else None


def _send_again(number: int) -> None:
    time.sleep(_AGAIN_SECONDS)
    main = threading.main_thread().ident
    if main is not None:
        signal.pthread_kill(main, number)
