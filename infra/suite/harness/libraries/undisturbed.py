"""Keeps what belongs to the whole process as it was while the code of tasks runs.

Tasks come with code of their own, and import libraries. Some set up logging anew, seed the random
numbers, take signals or set variables; afterwards lines of the log had neither time nor task.
"""

from __future__ import annotations

import io
import locale
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any

from infra.contracts.progress import Progress
from infra.engines.registry import engines

_READ_HERE = (
    "ASSAY_",
    "CUDA_",
    "HF_",
    "HUGGING",
    "MODELSCOPE_",
    "PIP_",
    "PREFECT_",
    "UV_",
    *(engine.variables_prefix for engine in engines()),
)
"""Variables that this program, its libraries and its children read begin with these."""


@contextmanager
def undisturbed() -> Iterator[None]:
    """Restore logging, warnings, streams, signals, locale, folder, variables and random numbers.

    Loggers that are new stay as they were set up, since they belong to who set them up.
    """
    with warnings.catch_warnings(), _logging(), _signals(), _variables(), _rest():
        yield


@contextmanager
def heard(progress: Progress, what: str) -> Iterator[None]:
    """Report what is printed as progress, which has its time and its task, off the terminal.

    Args:
        progress: Receives every line.
        what: What prints, for people.
    """
    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            yield
    finally:
        for line in said.getvalue().splitlines():
            if line.strip():
                progress.say(f"{what}: {line.strip()}")


@contextmanager
def _logging() -> Iterator[None]:
    root, manager = logging.root, logging.root.manager
    loggers = [one for one in manager.loggerDict.values() if isinstance(one, logging.Logger)]
    before = [(one, one.level, one.disabled, one.propagate, list(one.handlers), list(one.filters))
              for one in (root, *loggers)]  # fmt: skip
    handlers = [(one, one.level, one.formatter, list(one.filters), getattr(one, "stream", None))
                for one in {id(h): h for *_, hs, _ in before for h in hs}.values()]  # fmt: skip
    disabled, kind, factory = (
        manager.disable,
        logging.getLoggerClass(),
        logging.getLogRecordFactory(),
    )
    # `dictConfig` flushes and closes all that logging lists, under logging's own lock. Prefect's
    # handler then waits for a thread that may want to log itself: for 5 seconds, or for ever.
    listed: list[Any] = logging._handlerList  # type: ignore[attr-defined]
    ours = listed[:]
    listed.clear()
    try:
        yield
    finally:
        listed[:] = ours + [one for one in listed if one not in ours]
        for logger, level, off, propagate, its_handlers, filters in before:
            logger.handlers, logger.filters = its_handlers, filters
            logger.disabled, logger.propagate = off, propagate
            if logger.level != level:
                logger.setLevel(level)
        for handler, level, formatter, filters, stream in handlers:
            handler.level, handler.formatter, handler.filters = level, formatter, filters
            if stream is not None and handler.stream is not stream:  # type: ignore[attr-defined]
                handler.stream = stream  # type: ignore[attr-defined]
        logging.disable(disabled)
        logging.setLoggerClass(kind)
        logging.setLogRecordFactory(factory)


@contextmanager
def _signals() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # nobody can take a signal here
        return
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        yield
    finally:
        signal.alarm(0) if before[signal.SIGALRM] is not signal.getsignal(signal.SIGALRM) else None
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@contextmanager
def _variables() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            # Others may be a library's word to itself: OpenMP's, say.
            if name.startswith(_READ_HERE):
                del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value


@contextmanager
def _rest() -> Iterator[None]:
    before: list[Any] = [sys.stdout, sys.stderr, sys.excepthook, sys.unraisablehook]
    drawn, place, folder = random.getstate(), locale.setlocale(locale.LC_ALL), os.getcwd()  # noqa: PTH109
    deepest = sys.getrecursionlimit()
    from numpy import random as numbers

    numpys = numbers.get_state()
    try:
        yield
    finally:
        sys.stdout, sys.stderr, sys.excepthook, sys.unraisablehook = before
        sys.setrecursionlimit(deepest)
        random.setstate(drawn)
        numbers.set_state(numpys)
        with suppress(OSError, locale.Error):
            locale.setlocale(locale.LC_ALL, place)
            os.chdir(folder)
