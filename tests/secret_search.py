"""Looks for secrets where nobody may find them: in process lists, logs, databases, reports."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.process_marks import INHERITED

_LOOK_SECONDS = 0.25
_KEY = "VLLM_API_KEY"


class Seen:
    """What processes of this machine showed while they were watched."""

    def __init__(self) -> None:
        self.commands: set[str] = set()
        self.keys: set[str] = set()
        """Keys made for single servers, read from the environments of engines."""
        self.environments: dict[str, set[str]] = {}
        """Name of a watched variable → its values in the environments of processes."""

    def look(self, variables: Iterable[str], mark: str) -> None:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                self.commands.add(" ".join(process.cmdline()))
                found = process.environ()
                if found.get(INHERITED) != mark:
                    continue
                if _KEY in found:
                    self.keys.add(found[_KEY])
                for name in variables:
                    if name in found:
                        self.environments.setdefault(name, set()).add(found[name])


@contextmanager
def watched(variables: Iterable[str], mark: str) -> Iterator[Seen]:
    """Watch command lines of the machine until the block ends, and environments.

    Args:
        variables: What to look for in environments.
        mark: What the processes carry whose environments count, as `INHERITED`.
    """
    seen, done = Seen(), threading.Event()

    def watch() -> None:
        while not done.wait(_LOOK_SECONDS):
            seen.look(variables, mark)

    thread = threading.Thread(target=watch, name="process list")
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def files_with(secrets: Iterable[str], folders: Iterable[Path]) -> list[str]:
    """Return the files whose name or bytes hold a secret. Links are not followed."""
    wanted = [secret.encode() for secret in secrets]
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            if any(secret in str(path).encode() for secret in wanted):
                found.append(str(path))
            elif path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                if any(secret in content for secret in wanted):
                    found.append(str(path))
    return found
