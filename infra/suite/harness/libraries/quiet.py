"""The harness's own bars and warnings off the terminal; our progress on it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partialmethod

from infra.contracts.progress import Progress
from infra.machine.ticker import Ticker
from infra.suite.harness.libraries.undisturbed import undisturbed

_LOGGERS = ("lm_eval", "datasets", "transformers", "huggingface_hub")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence progress bars and library logs, and let nobody else's code change the process.

    The libraries draw bars from places that offer no switch, so the default of the bar itself is
    changed for as long as this lasts.
    """
    # transformers would warn that PyTorch is missing; the orchestrator does without.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from tqdm import std  # type: ignore[import-untyped]

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    init = std.tqdm.__init__
    std.tqdm.__init__ = partialmethod(init, disable=True)
    for logger in loggers:
        logger.handlers, logger.propagate = [logging.NullHandler()], False
    try:
        with undisturbed():
            yield
    finally:
        std.tqdm.__init__ = init
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate


def ticking(
    progress: Progress, what: str, count: Callable[[], tuple[int, int | None]], unit: str
) -> Ticker:
    """Report progress every second from a thread of its own, whatever this one is busy with.

    Args:
        progress: Who hears it.
        what: What is being done.
        count: Returns how many units are done, and of how many.
        unit: Name of the units.
    """
    return Ticker(1.0, lambda: progress.update(what, *count(), unit))
