"""Goes on after an engine died or hung: a new one is started, and only what is missing is sent.

Every answer is kept the moment it is given, so the work is simply begun again on the new server;
what was answered comes from the file of answers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TypeVar

from infra.contracts.errors import (
    PortTaken,
    ServerDied,
    ServerError,
    ServerHung,
    ServerNotReady,
    ServerUnverified,
)
from infra.contracts.progress import Progress
from infra.contracts.records import Restart
from infra.engines.endpoint import ServedEndpoint

_Served = TypeVar("_Served", bound=ServedEndpoint)


def work_through(
    serve: Callable[[int], AbstractContextManager[_Served]],
    work: Callable[[_Served, tuple[Restart, ...]], None],
    *,
    most: int,
    answered: Callable[[], int],
    progress: Progress,
) -> None:
    """Do the work on a server, on a new one if that ends before the work does.

    An engine that does not come up at all is not tried again: it would fail in the same way. Nor
    is one that ends twice in the same way with nothing answered in between.

    Args:
        serve: Starts the server; takes how often it was started before.
        work: Uses it, and takes up its work where it stopped when it is called again.
        most: How many restarts are allowed.
        answered: Returns how many answers are kept by now.
        progress: Hears why the server is started again.

    Raises:
        ServerError: The server ended once too often. Its cause tells of the restarts.
    """
    restarts: tuple[Restart, ...] = ()
    last: tuple[object, ...] | None = None
    while True:
        up = False
        try:
            with serve(len(restarts)) as server:
                up = True
                work(server, restarts)
                return
        except (ServerDied, ServerHung, PortTaken, ServerNotReady, ServerUnverified) as error:
            kept = answered()
            end = (type(error), error.diagnosis, error.exit_code, kept)
            # The port of a first start can be lost to somebody in the moment before it is bound.
            worth = up or restarts or (isinstance(error, PortTaken) and error.exit_code is not None)
            if not worth or len(restarts) >= most or end == last:
                raise _with_restarts(error, restarts) from error
            reason = error.fact.partition("\n")[0]
            restarts += (Restart(reason=reason, answered=kept),)
            last = end
            progress.say(
                f"{reason} Starting it again ({len(restarts)} of at most {most} times); "
                f"{kept} answers are kept."
            )


def _with_restarts(error: ServerError, restarts: tuple[Restart, ...]) -> ServerError:
    if not restarts:
        return error
    times = "once" if len(restarts) == 1 else f"{len(restarts)} times"
    before = " ".join(restart.reason for restart in restarts)
    cause = f"{error.cause} It had been started again {times} before: {before}".strip()
    return replace(error, cause=cause)
