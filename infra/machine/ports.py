"""Ports on loopback: find a free one, say who holds a taken one."""

from __future__ import annotations

import contextlib
import random
import socket

import psutil

from infra.contracts.errors import PortTaken

_SEARCHED = range(20_000, 30_000)
"""Below the ports that Linux hands to outgoing connections: the server binds seconds later."""


_OR_NONE = "Leave serving.port empty, so that a free one is found, or name another."


def find_free() -> int:
    """Return a port that nobody listens on now.

    Raises:
        PortTaken: None was found.
    """
    for port in random.sample(_SEARCHED, 100):
        with contextlib.suppress(PortTaken):
            refuse_taken(port)
            return port
    raise PortTaken(
        f"No free port was found between {_SEARCHED.start} and {_SEARCHED.stop}.",
        remedy="Set serving.port to one that is free.",
    )


def refuse_taken(port: int) -> None:
    """Do nothing if the port can be listened on.

    Raises:
        PortTaken: Another process has it.
    """
    with socket.socket() as probe:
        # As servers do; without it the remains of closed connections would count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OverflowError:
            raise PortTaken(
                f"{port} is no port.", cause="Ports go from 1 to 65535.", remedy=_OR_NONE
            ) from None
        except PermissionError:
            raise PortTaken(
                f"This user may not listen on port {port}.",
                cause="Those below 1024 are the system's.", remedy=_OR_NONE,
            ) from None  # fmt: skip
        except OSError:
            raise taken(port, f"Port {port} is taken.") from None


def taken(port: int, fact: str) -> PortTaken:
    """Return the error that names the process behind a taken port, if we may see it."""
    process = listener(port)
    return PortTaken(
        fact,
        cause=f"Process {process.pid} ({process.name()}) listens on it." if process else "",
        remedy="Leave serving.port empty, so that a free one is found, or end that process.",
    )


def listener(port: int) -> psutil.Process | None:
    """Return the process that listens on a port, if we may see it."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            local = connection.laddr
            if connection.status == psutil.CONN_LISTEN and local and local.port == port:
                return psutil.Process(connection.pid) if connection.pid else None
    return None
