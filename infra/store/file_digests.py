"""Digests of large files: told while they are computed, and not computed twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from infra.contracts.progress import Progress
from infra.contracts.records import FileDigest
from infra.store.content import write_atomically

_CHUNK = 8 * 1024 * 1024


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
    found = {}
    for name in names:
        sha256 = hashlib.sha256()
        blob = hashlib.sha1(b"blob %d\0" % (folder / name).stat().st_size, usedforsecurity=False)
        with (folder / name).open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                sha256.update(chunk)
                if name in git:
                    blob.update(chunk)
                done += len(chunk)
                if total > _CHUNK:
                    tell_bytes(progress, "computing digests", done, total)
        found[name] = sha256.hexdigest(), blob.hexdigest() if name in git else ""
    return found


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


def cached_digests(
    folder: Path, names: Sequence[str], cache: Path, progress: Progress
) -> tuple[FileDigest, ...]:
    """Return the digests of files, hashing only those that changed since the last call.

    A file whose size and modification time (in nanoseconds) are the same is taken for unchanged:
    a model of 15 GB costs its reading once. Whoever edits a file and sets its time back fools
    this, as he would fool make.

    Args:
        folder: Where the files are.
        names: Which of them.
        cache: File that remembers the digests. If it cannot be written, nothing is remembered.
        progress: Told about bytes.
    """
    try:
        known = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    stats = {name: (folder / name).stat() for name in names}
    marks = {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
    new = [name for name in names if known.get(name, [None])[:2] != marks[name]]
    hashed = hash_files(folder, new, progress)
    digests = {name: hashed[name][0] if name in hashed else known[name][2] for name in names}
    if new:
        with suppress(OSError):
            write_atomically(
                cache, json.dumps({name: [*marks[name], digests[name]] for name in names})
            )
    return tuple(
        FileDigest(name=name, size=stats[name].st_size, sha256=digests[name])
        for name in sorted(names)
    )
