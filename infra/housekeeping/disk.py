"""How much of the disk files take, and what comes free when they go.

A file with several names takes its room once, and gives it back with its last name. What counts are
blocks, not lengths: a file may have holes. Links are never followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_BLOCK = 512
"""Unit of `st_blocks`, whatever the file system's own blocks are (POSIX, sys/stat.h)."""


def below(path: Path) -> Iterator[os.stat_result]:
    """Yield what stands in the disk's books of a path and of all below it."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    yield found
    if stat.S_ISDIR(found.st_mode):
        for inner in _inside(path):
            yield from below(inner)


def coming_free(groups: Iterable[Sequence[Path]]) -> list[int]:
    """Return the bytes that come free when all of some groups of paths go, one for each group.

    A file that has names in several groups is counted in the first. One that has a name elsewhere
    is counted nowhere, for it stays.
    """
    first: dict[tuple[int, int], int] = {}
    names: dict[tuple[int, int], int] = {}
    found: dict[tuple[int, int], os.stat_result] = {}
    count = 0
    for number, paths in enumerate(groups):
        count = number + 1
        for each in (one for path in paths for one in below(path)):
            key = each.st_dev, each.st_ino
            first.setdefault(key, number)
            names[key] = names.get(key, 0) + 1
            found[key] = each
    freed = [0] * count
    for key, each in found.items():
        if stat.S_ISDIR(each.st_mode) or names[key] >= each.st_nlink:
            freed[first[key]] += each.st_blocks * _BLOCK
    return freed


def taken(groups: Iterable[Sequence[Path]]) -> list[int]:
    """Return the bytes that groups of paths take, one for each group.

    A file that has names in several groups is counted in the first.
    """
    seen: set[tuple[int, int]] = set()
    found = []
    for paths in groups:
        total = 0
        for each in (one for path in paths for one in below(path)):
            key = each.st_dev, each.st_ino
            total += 0 if key in seen else each.st_blocks * _BLOCK
            seen.add(key)
        found.append(total)
    return found


def remove(path: Path) -> int:
    """Delete a path and all below it; return the bytes that came free."""
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        path.unlink()
        return found.st_blocks * _BLOCK if found.st_nlink == 1 else 0
    freed = sum(remove(inner) for inner in _inside(path))
    path.rmdir()
    return freed + found.st_blocks * _BLOCK


def _inside(path: Path) -> list[Path]:
    with os.scandir(path) as there:
        return sorted(Path(entry.path) for entry in there)
