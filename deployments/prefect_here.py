"""The Prefect server that a run from the command line brings along where none is configured.

Prefect would start one itself, once the flow begins, and as a child that Ctrl-C in a terminal ends
together with the run: the run's end would then be recorded nowhere, after minutes of waiting for a
server that is gone. Here it starts while the run is looked at, is out of reach of the terminal, and
ends with this process, however that ends.
"""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import httpx

from infra.contracts.errors import PreflightError
from infra.contracts.progress import Progress
from infra.machine import cores, ports
from infra.machine.processes import Child, describe_exit, start, tail
from tasks.prefect_api import surveyed_api

_TIMEOUT = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
_DEFAULTS = {
    _TIMEOUT: "120",
    # Pauses double: it is waited for an API that is away for about four minutes.
    "PREFECT_CLIENT_MAX_RETRIES": "7",
}
_OF_THE_SERVER = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}
"""What Prefect sets for the servers that it starts itself."""

_GRACE_SECONDS = 5.0
_LOOK_SECONDS = 0.1


def begin(progress: Progress) -> Callable[[], None]:
    """Start it, unless one is configured; return what waits until it answers.

    Call that before anything of Prefect talks to a server. It raises `PreflightError` if the server
    ended, or did not answer in time. On few cores it starts only then: it would slow down what is
    looked at meanwhile, and bad input shall cost seconds.

    Args:
        progress: Hears that it is waited for.

    Raises:
        PreflightError: None is configured, and Prefect's settings let none be started.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    surveyed_api()
    start_once = cache(_start)
    if cores.to_spare():
        start_once()

    def ready() -> None:
        if (started := start_once()) is not None:
            _await(*started, progress)
            _hand_over(started[1])

    return ready


def _start() -> tuple[Child, int] | None:
    """Return the server's process and its port; none where a server is configured."""
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    if settings.api.url:
        return None
    stack = ExitStack()
    # Registered before Prefect registers what sends its last news: that runs first.
    atexit.register(stack.close)
    log = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "prefect.log"
    port = ports.find_free()
    command = [
        *(sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"),
        *("--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "--lifespan", "on"),
    ]
    env = {**os.environ, **_OF_THE_SERVER, **settings.to_environment_variables(exclude_unset=True)}
    child = stack.enter_context(start(command, log=log, env=env, grace_seconds=_GRACE_SECONDS))
    return child, port


def _await(child: Child, port: int, progress: Progress) -> None:
    """Wait until it answers.

    Raises:
        PreflightError: It ended, or did not answer in time.
    """
    progress.say("starting Prefect")
    seconds = float(os.environ[_TIMEOUT])
    deadline = time.monotonic() + seconds
    with httpx.Client(trust_env=False) as client:
        while True:
            try:
                healthy = client.get(f"http://127.0.0.1:{port}/api/health").is_success
                # Another run's may have been given the same port a moment before it was bound.
                if healthy and _listens(child, port):
                    return
            except httpx.TransportError:
                pass
            code = child.poll()
            if code is not None or time.monotonic() > deadline:
                how = f"ended by itself ({describe_exit(code)})" if code is not None else (
                    f"did not answer within {seconds:.0f} s"
                )  # fmt: skip
                raise PreflightError(
                    f"The Prefect server that records this run {how}.",
                    cause=f"It said:\n{tail(child.log, 8)}",
                    remedy="Free memory and processor and run again, or let PREFECT_API_URL name "
                    "a server that runs (`make ui` starts one).",
                )
            time.sleep(_LOOK_SECONDS)


def _listens(child: Child, port: int) -> bool:
    process = ports.listener(port)
    return process is None or process.pid in {one.pid for one in child.survivors()}


def _hand_over(port: int) -> None:
    """Have Prefect's clients in this process ask it, as if it were configured.

    Left to themselves they import Prefect's server, 2 s of every run, to see whether it runs.
    Variables stay as they are: this server is nobody else's.
    """
    from prefect.settings import get_current_settings

    get_current_settings().api.url = f"http://127.0.0.1:{port}/api"
