"""What the engine compiles and finds out at a start, kept for the next one.

Compiled graphs, kernels, what was tuned and what it looked up of a model: the engine itself keys
all of it by what it depends on. Here it gets a place in its environment's own folder, so that runs
and containers share it, another version of the engine begins anew, and all goes with the
environment.
"""

from __future__ import annotations

import fcntl
import getpass
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from infra.contracts.records import PythonEnvironment

FOLDER = "engine-cache"
"""In the folder of an environment."""

_PLACES = {
    "VLLM_CACHE_ROOT": "vllm",
    "TRITON_CACHE_DIR": "triton",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "FLASHINFER_WORKSPACE_BASE": "flashinfer",
}
_PARTS = ("vllm/*/*", "triton/*", "inductor/*/*", "flashinfer/*/*")
"""What is removed as a whole."""

MOST_BYTES = 20 * 2**30
"""As large as it may be when a server starts; a compiled graph takes some hundred megabytes."""


@contextmanager
def kept(environment: PythonEnvironment, given: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Return the variables that name the places, and keep these while the block runs.

    An interpreter of the user's own keeps what it compiles where it always does.

    Args:
        environment: Of the engine.
        given: Variables that are set already; the user's own choices among them stay.
    """
    folder = environment.python.parent.parent / FOLDER
    if environment.provided:
        yield _of_torch(given)
        return
    try:
        folder.mkdir(exist_ok=True)
        lock = (folder / "lock").open("a+b")
    except OSError:  # another user's: most is compiled anew
        yield _of_torch(given)
        return
    with lock:
        # Nobody else is at it but one that loads: what it writes meanwhile is trimmed next time.
        with suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            trim(folder, MOST_BYTES)
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield {name: str(folder / place) for name, place in _PLACES.items() if name not in given}


def _of_torch(given: Mapping[str, str]) -> dict[str, str]:
    """Return where torch keeps what it compiles if nobody says where.

    That is in the temporary folder, and a server has one of its own, which goes with it.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # it has no name
        user = f"uid_{os.getuid()}"
    folder = Path(given.get("TMPDIR") or tempfile.gettempdir(), f"torchinductor_{user}")
    name = "TORCHINDUCTOR_CACHE_DIR"
    return {} if name in given else {name: str(folder)}


def trim(folder: Path, most_bytes: int) -> int:
    """Remove what was not used for longest until the rest is small enough; return bytes removed."""
    parts = [part for pattern in _PARTS for part in folder.glob(pattern)]
    weighed = sorted((_used(part), _bytes(part), part) for part in parts)
    total, removed = sum(size for _, size, _ in weighed), 0
    for _, size, part in weighed:
        if total - removed <= most_bytes:
            break
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)
        removed += size
    return removed


def _files(part: Path) -> list[Path]:
    return [path for path in (part, *part.rglob("*")) if path.is_file() and not path.is_symlink()]


def _bytes(part: Path) -> int:
    return sum(path.stat().st_size for path in _files(part))


def _used(part: Path) -> float:
    """Return when a file of it was last read or written, as far as the file system says."""
    return max((max((s := path.stat()).st_atime, s.st_mtime) for path in _files(part)), default=0.0)
