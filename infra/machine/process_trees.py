"""Which processes belong to one tree, so surely that they may be ended.

A process id alone proves nothing: the kernel hands it out again. An identity is the id and the
tick at which the process began. A tree is recognized by its mark, a random word in the environment
that every process of it inherits, and by the session of its supervisor.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from infra.contracts.errors import ProcessesLeft
from infra.contracts.records import Record

MARK = "ASSAY_PROCESS_TREE"
"""Variable that every process of a tree inherits, whatever session it makes for itself."""

KEEPS_MARK = {"SPT_NOENV": "1"}
"""Keeps engines that give themselves a title from writing it over the environment others see."""

GRACE_SECONDS = 8.0
"""From SIGTERM to SIGKILL. Prefect gives a cancelled run 30 seconds for everything."""
AFTER_GRACE_SECONDS = 7.0
"""The supervisor's 5 seconds of SIGKILL, and a margin."""
_CONFIRM_SECONDS = 2.0
_POLL_SECONDS = 0.1


class Identity(Record):
    """One process, and no later one of the same number."""

    pid: int
    started: int
    """Clock ticks from the boot to its start."""

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Return who has this process id now; None if nobody."""
        found = _stat(pid)
        return cls(pid=pid, started=found[1]) if found else None

    def exists(self) -> bool:
        """Tell whether its process id is still its own, be it only as a zombie."""
        found = _stat(self.pid)
        return found is not None and found[1] == self.started

    def alive(self) -> bool:
        """Tell whether it runs, or could run again."""
        found = _stat(self.pid)
        return found is not None and found[1] == self.started and found[0] not in "ZX"


def _stat(pid: int) -> tuple[str, int] | None:
    """Return state and start of a process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold anything; the state follows it, 19 fields on the start.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def boot_id() -> str:
    """Return what tells this boot of the machine from every other."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def namespace() -> int:
    """Return what tells apart containers that count their own process ids."""
    return Path("/proc/self/ns/pid").stat().st_ino


def find(mark: str, session: int | None) -> list[psutil.Process]:
    """Return the living processes of a tree, wherever they hide.

    Args:
        mark: Its mark.
        session: Process id of its supervisor, where that is sure to be the supervisor's still.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            # The session misses those that made their own, the mark those that overwrote theirs.
            ours = os.getsid(process.pid) == session or process.environ().get(MARK) == mark
            # A zombie only waits for somebody to read its exit code.
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def find_left(mark: str, supervisor: Identity) -> list[psutil.Process]:
    """Return the living processes of a tree that somebody else started, only those surely of it.

    A session keeps its number from being handed out again, so it is the supervisor's as long as
    he exists, or as long as a process with the mark is in it.
    """
    marked = find(mark, None)
    for process in marked:
        with contextlib.suppress(OSError):
            if os.getsid(process.pid) == supervisor.pid:
                return find(mark, supervisor.pid)
    return find(mark, supervisor.pid) if supervisor.exists() else marked


def terminate(processes: list[psutil.Process]) -> None:
    """Ask processes to end; those that ended already are no error."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()


def kill(find_all: Callable[[], list[psutil.Process]]) -> None:
    """Kill what is found until nothing is found any more.

    Raises:
        ProcessesLeft: Something survived SIGKILL for two seconds.
    """
    deadline = time.monotonic() + _CONFIRM_SECONDS
    while left := find_all():
        if time.monotonic() > deadline:
            pids = [process.pid for process in left]
            raise ProcessesLeft(
                f"Processes {', '.join(map(str, pids))} survived SIGKILL.",
                cause="They hang in the kernel, most often in a driver or on a network disk.",
                remedy=f"Look at them with `ps -o pid,stat,wchan,cmd -p {pids[0]}`; "
                "a hanging GPU driver needs a restart of the machine.",
            )
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=0.2)


def wait_gone(find_all: Callable[[], list[psutil.Process]], seconds: float) -> None:
    """Wait until nothing is found any more, at most so long."""
    deadline = time.monotonic() + seconds
    while find_all() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
