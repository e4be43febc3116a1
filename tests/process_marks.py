"""Find the processes of a test by a variable they inherit: independent of the code under test."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from uuid import uuid4

import psutil

NAME = "ASSAY_TEST_MARK"
INHERITED = "LC_ASSAY_TEST_MARK"
"""One that engines and quantizers inherit too, whose environment is cleaned."""


def lives(process: psutil.Process) -> bool:
    """Tell whether a process does more than wait for somebody to read its exit code."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def command_lines(processes: Iterable[psutil.Process]) -> list[str]:
    """Return the command lines of those that live: any may end while it is looked at."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            found.append(" ".join(process.cmdline()))
    return found


class Marked:
    """Processes that carry one mark in their environment."""

    def __init__(self) -> None:
        self.env = {NAME: uuid4().hex, "PATH": os.environ["PATH"]}

    def living(self) -> list[str]:
        """Return a line for each living process, for the message of a failed assertion."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(NAME) == self.env[NAME]:
                    found.append(f"{process.pid} {process.cmdline()}")
        return found

    def wait_gone(self, seconds: float = 30) -> list[str]:
        """Wait until none is left, at most so long; return those that are."""
        deadline = time.monotonic() + seconds
        while (living := self.living()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return living
