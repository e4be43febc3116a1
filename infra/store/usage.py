"""What a process uses of the store, written down before it looks: nobody frees it meanwhile.

Every process has one list in `<store>/uses/`, which it holds locked as long as it lives. A line
says what it used, or for which run, in which folder of runs (`infra.store.runs_identity`), or what
files the process sees. What a living process used stays, and so does what was used for a run that
is kept. A process that carries out several runs has used all of it for each of them.

Who frees something holds the gate alone, looks at all lists, and moves it away. Who uses something
passes the gate with its line, and looks afterwards: so either the line is seen, or what it names is
no longer there and is made anew.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import json
import os
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from infra.store.runs_identity import identity_of

MARKER = ".assay-store.json"
"""Stands at the top of a store; see `store_format`."""

FOLDER = "uses"
_GATE = ".gate"
_RUN, _USED = "run", "used"
_FOLDER, _VIEW = "folder", "view"
"""Versions without them pass over such lines."""

_MOUNTS = Path("/proc/self/mountinfo")


def used(path: Path) -> None:
    """Write down that this process uses something of the store. Call it before looking for it.

    Outside of a store, or of one that cannot be written, nothing happens.
    """
    path = path.absolute()
    root = next((above for above in path.parents if (above / MARKER).is_file()), None)
    if root is None:
        return
    with _lock, suppress(OSError):
        if root not in _lists:
            _lists[root] = _List(root)
            for run in _runs:
                _lists[root].add_run(run)
        _lists[root].add(_USED, path.relative_to(root).as_posix())


def for_run(folder: Path) -> None:
    """Write down which run this process uses all of it for.

    Args:
        folder: That of the run, absolute.
    """
    with _lock:
        _runs[folder] = None
        for one in _lists.values():
            with suppress(OSError):
                one.add_run(folder)


class _List:
    """The list of this process in one store."""

    def __init__(self, root: Path) -> None:
        folder = root / FOLDER
        folder.mkdir(exist_ok=True)
        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        self._path = folder / name
        self._gate = folder / _GATE
        self._known: set[tuple[str, str]] = set()
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
        with suppress(OSError):  # a file system without locks: see `alive`
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        atexit.register(self._end, os.getpid())
        self.add(_VIEW, _view())

    def add_run(self, folder: Path) -> None:
        """Add the lines of a run."""
        if identity := identity_of(folder.parent):
            self.add(_FOLDER, f"{identity} {folder.parent}")
        self.add(_RUN, str(folder))

    def add(self, what: str, name: str) -> None:
        """Add a line, unless it is there."""
        if (what, name) in self._known:
            return
        with _passing(self._gate, fcntl.LOCK_SH):
            os.write(self._file, (json.dumps([what, name]) + "\n").encode())
        self._known.add((what, name))

    def _end(self, pid: int) -> None:
        """Remove the list of a process that worked for no run."""
        if os.getpid() == pid and not any(what == _RUN for what, _ in self._known):
            self._path.unlink(missing_ok=True)


_lock = threading.RLock()
_lists: dict[Path, _List] = {}
_runs: dict[Path, None] = {}


def _view() -> str:
    """Return what tells those who see the same files from all others.

    A name of a host is not enough: containers with the host's network have its name, and machines
    that were copied have one another's. Nor is the number of a namespace, which another one gets
    when it is gone: but where the layers of a container's root lie no other says.
    """
    said = [socket.gethostname()]
    with suppress(OSError):
        said.append(Path("/etc/machine-id").read_text(encoding="utf-8").strip())
    with suppress(OSError):
        said.append(str(Path("/proc/self/ns/mnt").readlink()))
    with suppress(OSError):
        said += _roots(_MOUNTS.read_text(encoding="utf-8"))
    return hashlib.sha256("\0".join(said).encode()).hexdigest()[:16]


def _roots(mounts: str) -> Iterator[str]:
    """Yield what is mounted as the root: type of the file system, where it lies and its options."""
    for line in mounts.splitlines():
        place, _, what = line.partition(" - ")
        if place.split()[4] == "/":
            yield what


@contextmanager
def _passing(gate: Path, how: int) -> Iterator[None]:
    descriptor = os.open(gate, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Used:
    """What one process used, as its list says it."""

    path: Path
    """Of the list."""

    alive: bool
    """Whether the process may live."""

    here: bool
    """Whether it saw the files that are seen here, by the same paths."""

    runs: tuple[Path, ...]
    folders: Mapping[Path, str]
    """Folder of runs → its identity. Of one that is missing nobody knows which folder it is: an
    earlier version wrote the list, or the folder could not be written."""

    names: frozenset[str]
    """What it used, relative to the store."""

    changed: float
    """When it was last added to, in seconds since the epoch."""


def lists(cache: Path) -> list[Used]:
    """Return what every process used of a store, whose list is still there."""
    found = []
    for path in sorted((cache / FOLDER).glob("*.jsonl")):
        with suppress(OSError):  # its process ended just now
            found.append(_read(path))
    return found


@contextmanager
def gate_closed(cache: Path) -> Iterator[None]:
    """Let no process of a store write down anything while the block runs."""
    (cache / FOLDER).mkdir(exist_ok=True)
    with _passing(cache / FOLDER / _GATE, fcntl.LOCK_EX):
        yield


def _read(path: Path) -> Used:
    lines: dict[str, list[str]] = {_RUN: [], _USED: [], _FOLDER: [], _VIEW: []}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError, KeyError, TypeError):  # torn: a machine lost its power
            what, name = json.loads(line)
            lines[what].append(name)
    return Used(
        path=path,
        alive=_held(path),
        here=lines[_VIEW] == [_view()],
        runs=tuple(map(Path, lines[_RUN])),
        folders={
            Path(folder): identity
            for identity, _, folder in (line.partition(" ") for line in lines[_FOLDER])
        },
        names=frozenset(lines[_USED]),
        changed=path.stat().st_mtime,
    )


def _held(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # also where locks are unknown: then nobody can tell
        return True
    finally:
        os.close(descriptor)
    return False
