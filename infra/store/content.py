"""Content addressing: digests, and folders that appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

import infra
from infra.contracts.records import FileDigest
from infra.store.usage import used

_CHUNK = 8 * 1024 * 1024
_PARTIAL = ".partial"
_SETTLED_NS = 2_000_000_000
"""A file written a moment ago may be written again at what its clock calls the same time."""

_TICK_NS = 50_000_000
"""How far a clock may go on without a file system's: its timer ticks every 10 ms at least."""

Mark = tuple[int, ...]
"""What changes with a file's content; see `mark`."""

_hashed: dict[Mark, str] = {}
"""Digests of large files that this process has read: a run asks for some of them ten times."""


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a JSON-able value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_file(path: Path) -> FileDigest:
    """Return name, size in bytes and SHA-256 of one file."""
    with path.open("rb") as stream:
        before = mark(os.fstat(stream.fileno()))
        if (sha256 := _hashed.get(before)) is None:
            settled = is_settled(before)
            sha = hashlib.sha256()
            while chunk := stream.read(_CHUNK):
                sha.update(chunk)
            sha256 = sha.hexdigest()
            if before[2] >= _CHUNK and settled and mark(os.fstat(stream.fileno())) == before:
                _hashed[before] = sha256
    return FileDigest(name=path.name, size=before[2], sha256=sha256)


def mark(stat: os.stat_result) -> Mark:
    """Return what changes with a file's content, whoever sets its time back: last its ctime.

    A digest is remembered by this and by nothing less, and only of a file that was settled before
    it was read.
    """
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def is_settled(mark: Mark) -> bool:
    """Return whether a file was written so long ago that the next write shows in its mark."""
    return time.time_ns() - mark[-1] > _SETTLED_NS


def written_ns(path: Path) -> int:
    """Return when a file was last written, in nanoseconds since the epoch; 0 if nobody can tell.

    Others write and remove at any time where several runs keep something.
    """
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def files_below(folder: Path, skip: Iterable[str] = ()) -> list[str]:
    """Return the names of the files below a folder, sorted, without hidden files and `skip`."""
    skipped = set(skip)
    names = (
        path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()
    )
    return [
        name
        for name in names
        if name not in skipped and not any(part[0] == "." for part in name.split("/"))
    ]


def digest_folder(folder: Path, skip: Iterable[str] = ()) -> tuple[FileDigest, ...]:
    """Return the digest of every file below a folder, without hidden files and `skip`."""
    return tuple(
        digest_file(folder / name).model_copy(update={"name": name})
        for name in files_below(folder, skip)
    )


def digest_files(files: Iterable[FileDigest]) -> str:
    """Return one digest for a set of files: the identity of a checkpoint."""
    return digest_of(sorted([file.name, file.sha256] for file in files))


@cache
def code_digest(*parts: str) -> str:
    """Return the digest of some of this package's own code.

    Args:
        parts: Files and folders below `infra`; of a folder every Python file in it counts.

    A process computes with the code that it has loaded. Of files that were written since it
    started nobody knows which they are: nothing is ever found under what is returned then; see
    `code_is_known`.

    Raises:
        FileNotFoundError: There is no such part, or no Python file in it.
    """
    here = Path(__file__).parents[1]
    files: list[Path] = []
    for part in parts:
        path = here / part
        found = [path] if part.endswith(".py") else sorted(path.rglob("*.py"))
        if not found:
            raise FileNotFoundError(path)
        files += found
    texts = [[file.relative_to(here).as_posix(), file.read_text("utf-8")] for file in files]
    known = all(_is_loaded(file, here) for file in files)
    return digest_of(texts if known else [*texts, secrets.token_hex()])


def code_is_known() -> bool:
    """Tell whether all of this package's code lies there as this process has loaded it."""
    here = Path(__file__).parents[1]
    return all(_is_loaded(file, here) for file in here.rglob("*.py"))


def _is_loaded(file: Path, package: Path) -> bool:
    """Tell whether a file is what it was before this process loaded any of the package.

    It has the mark that it had then, and a file that is written again gets another one, unless the
    clock of its file system stood still between the two.
    """
    then = infra.CODE.get(file.relative_to(package).as_posix())
    if then is None or mark(then) != mark(file.stat()):
        return False
    coarse = then.st_ctime_ns % 1_000_000_000 == 0  # some tell whole seconds
    return infra.BEGAN_NS - then.st_ctime_ns > (_SETTLED_NS if coarse else _TICK_NS)


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, never half of it."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to; what was written there replaces a file when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of this writer alone: in containers that share a disk processes have the same few numbers.
    partial = path.with_name(f".{path.name}.{secrets.randbits(64)}.partial")
    try:
        yield partial
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class Behind(Protocol):
    """A store behind this machine's, which other machines share; see `infra.store.shared`."""

    def has(self, final: Path) -> bool:
        """Return whether it is there, whole."""

    def bring(self, final: Path) -> bool:
        """Let it appear here by one rename; return whether it is here now."""

    def keep(self, final: Path) -> None:
        """Put what is whole here there too, if it is not there yet."""

    def alone(self, what: Path | str, on_wait: Callable[[], None]) -> AbstractContextManager[None]:
        """Let one machine at a time do what is in the block."""


def is_there(final: Path, behind: Behind | None) -> bool:
    """Return whether a folder or file is here, and bring it if it is only behind this machine."""
    if final.exists() or behind is None or not behind.has(final):
        return final.exists()
    final.parent.mkdir(parents=True, exist_ok=True)
    with _lock(final.parent, final.name):
        return final.exists() or behind.bring(final)


def build_once(
    final: Path,
    build: Callable[[Path], None],
    *,
    on_wait: Callable[[], None] = lambda: None,
    keep_partial: bool = False,
    behind: Behind | None = None,
) -> bool:
    """Make a folder once, whoever else wants it at the same time.

    The lock is an flock: it frees itself when its holder dies. `final` appears by one rename, so
    a folder of that name is always a whole one. What killed builds left beside it is removed first:
    nobody may ever want the same again, and it may be as large as a model.

    Args:
        final: The folder that shall exist afterwards.
        build: Fills the (existing, possibly resumed) folder it is given.
        on_wait: Called once if somebody else is building.
        keep_partial: Leave an unfinished folder for the next attempt to resume. Of all that is
            built in one folder, or of nothing there.
        behind: A store that other machines share: what one of them has built is brought from
            there, and what is built here is put there.

    Returns:
        True if this call built it, False if it was there or somebody else built it meanwhile.
    """
    used(final)
    if final.is_dir():
        if behind is not None:
            behind.keep(final)
        return False
    final.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock(final.parent, final.name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_wait()
        lock.acquire()
    try:
        if final.is_dir() or (behind is not None and behind.bring(final)):
            return False
        with behind.alone(final, on_wait) if behind is not None else nullcontext():
            if behind is not None and behind.bring(final):
                return False
            _build(final, build, keep_partial)
            if behind is not None:
                behind.keep(final)
        return True
    finally:
        lock.release()


def _build(final: Path, build: Callable[[Path], None], keep_partial: bool) -> None:
    partial = final.parent / f".{final.name}{_PARTIAL}"
    if not keep_partial:
        shutil.rmtree(partial, ignore_errors=True)
        _remove_abandoned(final.parent)
    partial.mkdir(exist_ok=True)
    try:
        build(partial)
    except BaseException:
        if not keep_partial:
            shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(final)


def _lock(folder: Path, name: str) -> FileLock:
    return FileLock(folder / f".{name}.lock")


def _remove_abandoned(folder: Path) -> None:
    """Remove what was being built when its builder was killed; who builds holds its lock."""
    for partial in folder.glob(f".*{_PARTIAL}"):
        if not partial.is_dir():
            continue  # a file that is being written, see `replacing`
        name = partial.name.removeprefix(".").removesuffix(_PARTIAL)
        # Somebody builds it; or it is another user's, and his to remove.
        with suppress(Timeout, OSError), _lock(folder, name).acquire(timeout=0):
            shutil.rmtree(partial, ignore_errors=True)
