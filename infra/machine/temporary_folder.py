"""A temporary folder for one tree of processes, and the removal of those whose processes are gone.

Engines leave files in the temporary folder however they end, under names that do not say whose they
are. So each tree gets a folder of its own, `assay-<machine>-<random>`, open to its user alone, that
goes with it. A lock on the folder says that it is used: it is inherited as a descriptor, so the
kernel lets go of it when the last process of the tree that has it is gone, however that ended.
Tools that clear up temporary files leave locked folders alone too.

Standard library only: the supervisor makes and removes the folder. What a killed one left is
removed with stale leases.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

_VARIABLE = "TMPDIR"
"""Names the temporary folder to programs."""

_ELSEWHERE = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 -- names are made by `mkdtemp`
"""Where Python's own `multiprocessing` goes if the paths of sockets would be too long."""

_NAME = re.compile(r"assay-[0-9a-f]{8}-[a-z0-9_]{8}")
_NAME_BYTES = 24
"""Of a name and the slash before it."""
_ROOT_BYTES = 107 - 37 - _NAME_BYTES
"""The longest path of a Unix socket is 107 bytes, and vLLM's are a slash and a UUID below the
temporary folder."""

_TRIES = 3
"""Somebody who sweeps may find a new folder before it is locked."""


@contextlib.contextmanager
def own() -> Iterator[None]:
    """Have what is started in the block use a folder of its own, and remove that afterwards.

    It lies in the temporary folder that would be used otherwise, or in the system's if that is too
    deep. Where there can be none, or none that can be locked, everything stays as it is. Whoever
    was started and still lives keeps it. No failure is raised.
    """
    made = _make()
    if made is None:
        yield
        return
    path, descriptor = made
    os.environ[_VARIABLE] = str(path)
    try:
        yield
    finally:
        os.close(descriptor)
        _remove_if_free(path)


def sweep() -> None:
    """Remove the folders of this user and this machine that nobody holds any more."""
    for root in _roots():
        with contextlib.suppress(OSError):
            for path in root.iterdir():
                if _NAME.fullmatch(path.name) and path.name.startswith(_prefix()):
                    _remove_if_free(path)


def _make() -> tuple[Path, int] | None:
    """Return a new folder, and the descriptor that locks it, for whoever inherits it too."""
    with contextlib.suppress(OSError):
        root = next(root for root in _roots() if len(os.fsencode(root)) <= _ROOT_BYTES)
        for _ in range(_TRIES):
            path = Path(tempfile.mkdtemp(prefix=_prefix(), dir=root))
            descriptor = _lock(path)
            if descriptor is not None:
                os.set_inheritable(descriptor, True)
                return path, descriptor
            with contextlib.suppress(FileNotFoundError):
                path.rmdir()
    return None


def _prefix() -> str:
    """Return how names begin here: a lock may not be seen by other machines that share a disk."""
    return f"assay-{zlib.crc32(os.fsencode(os.uname().nodename)):08x}-"


def _roots() -> list[Path]:
    """Return where folders may lie, the preferred place first."""
    with contextlib.suppress(OSError):
        return list(dict.fromkeys([Path(tempfile.gettempdir()).absolute(), *_ELSEWHERE]))
    return list(_ELSEWHERE)


def _lock(path: Path) -> int | None:
    """Return a descriptor that locks a folder; None if somebody holds it, or it is not ours."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(descriptor)
            ours = found.st_uid == os.geteuid() and found.st_mode & 0o777 == 0o700
            if ours and os.path.samestat(found, path.lstat()):  # no other one by now
                return descriptor
        os.close(descriptor)
    return None


def _remove_if_free(path: Path) -> None:
    descriptor = _lock(path)
    if descriptor is not None:
        with contextlib.suppress(RecursionError):  # what lies that deep stays
            shutil.rmtree(path, ignore_errors=True)  # follows no links
        os.close(descriptor)
