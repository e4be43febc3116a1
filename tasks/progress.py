"""News of a long step, to the log and to a progress bar in the Prefect UI."""

from __future__ import annotations

import contextvars
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from infra.contracts.wording import duration
from infra.machine.ticker import Ticker
from tasks.news import pass_on

_BEAT_SECONDS = 2.0
_LOG_EVERY_BEATS = 3

_FEW, _MANY = 5, 100
"""With fewer than this finished of so many, the rate says little: a thousand questions that are
asked at a time come back together, and the first of them after a while."""


@dataclass
class _Bar:
    what: str
    unit: str
    total: int | None
    done: int
    first: int
    started: float = field(default_factory=time.monotonic)
    updated: float = field(default_factory=time.monotonic)
    reported: int = -1
    shown: int = -1
    artifact: UUID | None = None
    sending: bool = False
    """Whether the API is being called, or will be, with what is done by then."""

    @property
    def finished(self) -> bool:
        return self.total is not None and self.done >= self.total

    def how_far(self) -> str:
        text = f"{self.what}: {self.done}"
        text += f"/{self.total}" if self.total is not None else ""
        return f"{text} {self.unit}".rstrip()

    def line(self) -> str:
        text = self.how_far()
        if self.unit == "s":
            return text  # time itself has no rate
        rate = (self.done - self.first) / max(time.monotonic() - self.started, 1e-9)
        if rate > 0:
            text += f", {rate:.3g}/s"
            if self.total is not None and self.done < self.total and not self._too_few(self.total):
                text += f", {duration((self.total - self.done) / rate)} left"
        return text

    def _too_few(self, total: int) -> bool:
        """Return whether nobody can say yet how long the rest will take."""
        return total >= _MANY and self.done - self.first < _FEW


class PrefectProgress:
    """Keeps the latest news of each step; a thread of its own passes them on.

    The caller may run in an event loop that must not wait for the Prefect API.
    """

    def __init__(self) -> None:
        # Logger and artifacts belong to the task run, which other threads do not know.
        self._logger = get_run_logger()
        self._context = contextvars.copy_context()
        self._bars: dict[str, _Bar] = {}
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """Log one line."""
        self._logger.info(text)

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        """Remember that `done` of `total` are finished; it is passed on within seconds."""
        with self._lock:
            bar = self._bars.get(what)
            if bar is None:
                self._bars[what] = _Bar(what, unit, total, done, first=done)
            elif unit != bar.unit:  # it counted seconds, and now knows what there is to do
                self._bars[what] = _Bar(what, unit, total, done, first=done, artifact=bar.artifact)
            else:
                bar.done, bar.total, bar.updated = done, total, time.monotonic()

    def pass_on(self, *, log: bool) -> None:
        """Pass on what changed since the last time.

        A step that another one followed is over, though its last count may never have been told:
        nothing of it is left to wait for.
        """
        with self._lock:
            changed = [bar for bar in self._bars.values() if bar.done != bar.reported]
            over = [bar for bar in changed if self._is_over(bar)]
        for bar in changed:
            if bar.finished or (log and bar not in over):
                self._logger.info(bar.line())
            if bar.finished or log:
                bar.reported = bar.done
            if bar.total:
                self._send(bar)

    def end(self, *, failed: bool) -> None:
        """Pass on what is left to be told once all steps are over.

        Args:
            failed: Whether the last one did not come to its end: then it is said how far it was.
        """
        with self._lock:
            left = [bar for bar in self._bars.values() if failed and not bar.finished]
            counting = [bar for bar in self._bars.values() if bar.unit != "s"]
            # An engine that died may have been waited for since.
            last = max(counting, key=lambda bar: bar.updated, default=None)
            left = [bar for bar in left if bar is last or not self._is_over(bar)]
            unfinished = [bar for bar in self._bars.values() if not bar.finished]
        self.pass_on(log=False)
        for bar in left:
            self._logger.info(f"{bar.how_far()} when it ended")
        for bar in unfinished:
            if bar.total and bar.done != bar.shown:
                self._send(bar)

    def _is_over(self, bar: _Bar) -> bool:
        return any(other.started > bar.updated for other in self._bars.values())

    def _send(self, bar: _Bar) -> None:
        with self._lock:
            if bar.sending:
                return
            bar.sending = True
        pass_on(partial(self._show, bar), self._context.copy())

    def _show(self, bar: _Bar) -> None:
        """Show a bar as it is, and again as long as it has moved meanwhile."""
        while True:
            with self._lock:
                done, total = bar.done, bar.total
                if done == bar.shown or not total:
                    bar.sending = False
                    return
                bar.shown = done
            try:
                _put(bar, min(100.0 * done / total, 100.0))
            except Exception:
                with self._lock:
                    bar.sending = False
                raise


def _put(bar: _Bar, percent: float) -> None:
    if bar.artifact is None:
        created = create_progress_artifact(progress=percent, description=bar.what)
        bar.artifact = created if isinstance(created, UUID) else None
    else:
        update_progress_artifact(bar.artifact, progress=percent, description=bar.what)


@contextmanager
def reported_to_prefect() -> Iterator[PrefectProgress]:
    """Pass on the news of a step while the block runs. Use inside a task."""
    progress = PrefectProgress()
    beats = itertools.count(1)

    def beat() -> None:
        progress.pass_on(log=next(beats) % _LOG_EVERY_BEATS == 0)

    try:
        with Ticker(_BEAT_SECONDS, beat):
            yield progress
    except BaseException:
        progress.end(failed=True)
        raise
    progress.end(failed=False)


@contextmanager
def timed(what: str) -> Iterator[PrefectProgress]:
    """Tell for how long the block has been at something whose end nobody can foresee."""
    began = time.monotonic()
    with (
        reported_to_prefect() as progress,
        Ticker(
            _BEAT_SECONDS,
            lambda: progress.update(what, round(time.monotonic() - began), None, "s"),
        ),
    ):
        yield progress
