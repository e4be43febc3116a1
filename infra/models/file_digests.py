"""Digests of large files: reported while they are computed, and not computed twice."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from infra.contracts.progress import Progress
from infra.contracts.records import FileDigest
from infra.machine import cores
from infra.store.content import Mark, files_below, is_settled, mark, write_atomically
from infra.store.usage import used

_CHUNK = 8 * 1024 * 1024
_READERS = 8
"""Files that are read at a time: more than these and a disk is what is waited for."""


def tell_bytes(progress: Progress, what: str, done: int, total: int) -> None:
    """Tell how many of `total` bytes are done, in a unit that people read."""
    divisor, unit = (1_000_000, "MB") if total >= 10_000_000 else (1_000, "kB")
    progress.update(what, done // divisor, total // divisor, unit)


def hash_files(
    folder: Path, names: Sequence[str], progress: Progress, *, git: Collection[str] = ()
) -> dict[str, tuple[str, str]]:
    """Return for each file its SHA-256 and, if it is in `git`, its git blob id (else empty).

    The blob id is the SHA-1 of "blob", a space, the size, a zero byte and the content (Pro Git,
    section "Git Objects").
    """
    total = sum((folder / name).stat().st_size for name in names)
    done = 0
    lock = threading.Lock()
    ended = threading.Event()

    def read(name: str) -> tuple[str, str]:
        nonlocal done
        sha256 = hashlib.sha256()
        blob = hashlib.sha1(b"blob %d\0" % (folder / name).stat().st_size, usedforsecurity=False)
        with (folder / name).open("rb") as stream:
            while not ended.is_set() and (chunk := stream.read(_CHUNK)):
                sha256.update(chunk)
                if name in git:
                    blob.update(chunk)
                with lock:
                    done += len(chunk)
                    if total > _CHUNK:
                        tell_bytes(progress, "computing digests", done, total)
        return sha256.hexdigest(), blob.hexdigest() if name in git else ""

    # A digest is computed without the interpreter's lock, each on a core of its own.
    with ThreadPoolExecutor(min(_READERS, cores.count())) as pool:
        try:
            return dict(zip(names, pool.map(read, names), strict=True))
        finally:
            ended.set()  # an error or Ctrl-C waits for no file that is still being read


def digests_below(
    folder: Path, progress: Progress, *, skip: Collection[str] = ()
) -> tuple[FileDigest, ...]:
    """Return what `digest_folder` does of large files: side by side, and it is told."""
    names = files_below(folder, skip)
    hashed = hash_files(folder, names, progress)
    return tuple(
        FileDigest(name=name, size=(folder / name).stat().st_size, sha256=hashed[name][0])
        for name in names
    )


def of_another_size(folder: Path, files: Sequence[FileDigest]) -> dict[str, str]:
    """Return the names of files that do not have their size, and for each what is the matter."""
    found = {}
    for file in files:
        path = folder / file.name
        size = path.stat().st_size if path.is_file() else None
        if size != file.size:
            is_now = "it is missing" if size is None else f"it has {size}"
            found[file.name] = f"should have {file.size} bytes, but {is_now}"
    return found


class Remembered:
    """Digests of some files in a folder, kept in a file: a model of 15 GB costs its reading once.

    A file that has its mark is taken for unchanged; see `infra.store.content.mark`.
    """

    def __init__(self, folder: Path, names: Sequence[str], kept: Path) -> None:
        """Look at files before any of them is read.

        Args:
            folder: Where the files are.
            names: Which of them.
            kept: Remembers the digests. If it cannot be written, nothing is remembered.
        """
        used(kept)
        self._folder, self._kept = folder, kept
        self._marks = self._look(names)
        self._settled = {name for name, seen in self._marks.items() if is_settled(seen)}
        self._entries = self._read()
        self.found = {
            name: self._entries[name][-1]
            for name, seen in self._marks.items()
            if self._entries.get(name, [])[:-1] == [*seen]
        }
        """Those that are remembered: name → SHA-256."""

    def keep(self, new: Mapping[str, str]) -> None:
        """Remember digests of what was read since, as far as it was settled and did not change."""
        fresh = {
            name: [*seen, new[name]]
            for name, seen in self._look(new).items()
            if name in self._settled and seen == self._marks[name]
        }
        if fresh:
            with suppress(OSError):
                write_atomically(self._kept, json.dumps(self._entries | fresh))

    def _look(self, names: Iterable[str]) -> dict[str, Mark]:
        return {name: mark((self._folder / name).stat()) for name in names}

    def _read(self) -> dict[str, list[Any]]:
        try:
            entries = json.loads(self._kept.read_text(encoding="utf-8"))
            return {str(name): [*entry] for name, entry in entries.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}


def cached_digests(
    folder: Path, names: Sequence[str], kept: Path, progress: Progress
) -> tuple[FileDigest, ...]:
    """Return the digests of files, hashing only those that changed since the last call.

    Args:
        folder: Where the files are.
        names: Which of them.
        kept: File that remembers the digests; see `Remembered`.
        progress: Hears of bytes.
    """
    remembered = Remembered(folder, names, kept)
    new = [name for name in names if name not in remembered.found]
    hashed = {name: sha for name, (sha, _) in hash_files(folder, new, progress).items()}
    remembered.keep(hashed)
    digests = remembered.found | hashed
    return tuple(
        FileDigest(name=name, size=(folder / name).stat().st_size, sha256=digests[name])
        for name in sorted(names)
    )


def changed(
    folder: Path, files: Sequence[FileDigest], kept: Path, progress: Progress
) -> dict[str, str]:
    """Return the names of files that are not what they were, and for each what is the matter.

    Args:
        folder: Where the files are.
        files: What they were.
        kept: File that remembers the digests; see `Remembered`.
        progress: Hears of bytes.
    """
    if wrong := of_another_size(folder, files):
        return wrong
    now = cached_digests(folder, [file.name for file in files], kept, progress)
    were = {file.name: file.sha256 for file in files}
    return {
        file.name: "changed since it was made" for file in now if file.sha256 != were[file.name]
    }
