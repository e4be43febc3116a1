"""A thread beside the main one, whose work ends with the run.

A run makes checkpoints there while it evaluates its baseline. A signal reaches the main thread
alone, so whatever ends the run there has to end what the other thread waits for: its children are
remembered, and ended from outside.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

from infra.contracts.errors import RunEnded
from infra.contracts.progress import Progress

T = TypeVar("T")

_END_SECONDS = 60.0
"""How long the work may take to end; what is left then ends with this process."""
_LOOK_SECONDS = 1.0


class Beside:
    """Does jobs one after another, in their order, in a thread of its own.

    Leaving the `with` block waits for all of them. If it is left by an error they end instead:
    what they have started gets SIGTERM, and what they start later is refused.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._futures: list[Future[Any]] = []
        self._ends: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._ended = False

    def __enter__(self) -> Self:
        self._token = _beside.set(self)
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._work,), name="beside", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._end()
        self._jobs.put(None)
        self._thread.join(None if kind is None else _END_SECONDS)
        _beside.reset(self._token)

    def start(self, job: Callable[[], T]) -> Future[T]:
        """Have a job done; what it returns or raises is in the future."""
        future: Future[T] = Future()
        self._futures.append(future)
        self._jobs.put((job, future))
        return future

    def wait(self, progress: Progress) -> None:
        """Wait until nothing is left to do.

        Args:
            progress: Hears for how many seconds.
        """
        seconds = 0
        while wait(self._futures, _LOOK_SECONDS).not_done:
            seconds += 1
            progress.update("waiting for checkpoints that are being made", seconds, None, "s")

    @property
    def is_this_thread(self) -> bool:
        """Whether whoever asks is one of the jobs."""
        return threading.current_thread() is self._thread

    def require_going(self) -> None:
        """Raise if the run ends.

        Raises:
            RunEnded: It does.
        """
        if self._ended:
            raise RunEnded("The run ended while something was made beside it.")

    @contextmanager
    def member(self, end: Callable[[], None]) -> Iterator[None]:
        """Have a child while the block runs.

        Args:
            end: Begins to end it; called from another thread.
        """
        with self._lock:
            self._ends.append(end)
            if self._ended:
                end()
        try:
            yield
        finally:
            with self._lock:
                self._ends.remove(end)

    def _end(self) -> None:
        with self._lock:
            self._ended = True
            for end in self._ends:
                end()

    def _work(self) -> None:
        while (given := self._jobs.get()) is not None:
            job, future = given
            try:
                self.require_going()
                future.set_result(job())
            except BaseException as error:
                future.set_exception(error)


_beside: ContextVar[Beside | None] = ContextVar("beside", default=None)


def _job() -> Beside | None:
    """Return whose job this thread is at."""
    beside = _beside.get()
    return beside if beside and beside.is_this_thread else None


@contextmanager
def member(end: Callable[[], None]) -> Iterator[None]:
    """Have a child while the block runs; that of a job ends with the run.

    Args:
        end: Begins to end it; called from another thread.
    """
    job = _job()
    with job.member(end) if job else nullcontext():
        yield


def require_going() -> None:
    """Raise if this is a job of a run that ends.

    Raises:
        RunEnded: It is.
    """
    if job := _job():
        job.require_going()


def wait_alone(progress: Progress) -> None:
    """Wait until this run does nothing else: what is timed shall not be disturbed by it.

    Args:
        progress: Hears for how many seconds.
    """
    beside = _beside.get()
    if beside and not beside.is_this_thread:
        beside.wait(progress)
