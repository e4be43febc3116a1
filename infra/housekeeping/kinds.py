"""What lies in the store, and which folders and files of it stand or fall together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from infra.store.usage import FOLDER as USES
from infra.store.usage import MARKER

GONE = ".gone"
"""Ends the name of what was moved away to be deleted."""

_PARTIAL, _DAMAGED, _ASIDE = ".partial", ".damaged", ".aside-"
_HUBS = ("modelscope", "huggingface")


@dataclass(frozen=True)
class Kind:
    """One kind of what is kept."""

    name: str
    folders: tuple[str, ...]
    """Below the store; not looked for elsewhere."""

    depth: int = 1
    """Folders between it and what stands or falls together, that one counted."""


@dataclass(frozen=True)
class Entry:
    """What is kept or freed as one."""

    kind: str
    path: Path
    name: str
    """Relative to the store."""

    beside: tuple[Path, ...] = field(default=())
    """Files that are nothing without it: SQLite's log, digests of a download."""

    left_over: bool = False
    """Something that was never finished, or that was put aside or moved away."""

    @property
    def whole_name(self) -> str:
        """What it would be called if it was finished."""
        folder, _, last = self.name.rpartition("/")
        plain = re.sub(r"^\.|(?:\.\d+)?\.partial$|\.damaged$|\.aside-\d+$", "", last)
        return f"{folder}/{plain}" if self.left_over else self.name

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of it: what lies beside it first, as it goes first."""
        return (*self.beside, self.path)


def _of_hubs(*folders: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{hub}" for folder in folders for hub in _HUBS)


KINDS = (
    Kind("environments", ("environments",)),
    Kind("weights", _of_hubs("weights", "weights/adapters"), depth=2),
    Kind("weights", ("weights/views", "weights/adapters/local")),
    Kind("digests", ("weights/local",)),
    Kind("tokenizers", _of_hubs("tokenizers"), depth=2),
    Kind("datasets", _of_hubs("datasets"), depth=2),
    Kind("datasets", ("datasets/.arrow",)),
    Kind("checkpoints", ("checkpoints",)),
    Kind("answers", ("answers",)),
    Kind("scores", ("scores",)),
    Kind("vectors", ("vectors",)),
    Kind("passages", ("retrieved", "cut")),
    Kind("triage", ("triage",)),
    Kind("readings", ("readings", "readings/texts")),
    Kind("timings", ("benches",)),
    Kind("tasks", ("suites", "task-index", "tasks", "rows", "own-tasks")),
    # What former versions kept under another name, and no version looks for any more.
    Kind("tasks", ("exams",)),
)

NAMES = tuple(dict.fromkeys(kind.name for kind in KINDS))
"""Of all kinds, in order."""

_INNER = {folder for kind in KINDS for folder in kind.folders}
_NOT_KEPT = {"refs"}
"""Beside the commits of a repository: which of them a branch was last seen at."""


def entries(cache: Path) -> Iterator[Entry]:
    """Yield all that lies in a store. Links are not followed, and are no entries."""
    for kind in KINDS:
        for folder in kind.folders:
            if _is_own(cache, folder):
                yield from _in(cache, kind.name, cache / folder, kind.depth)


def links(cache: Path) -> Iterator[str]:
    """Yield what links in a store lead to, as far as that lies in it: relative to the store."""
    for kind in KINDS:
        for folder in kind.folders:
            for path in (cache / folder).iterdir() if _is_own(cache, folder) else ():
                target = path.resolve()
                if path.is_symlink() and target.is_relative_to(cache.resolve()):
                    yield target.relative_to(cache.resolve()).as_posix()


def unknown(cache: Path) -> list[Path]:
    """Return what lies at the top of a store and is of no kind: it is never touched."""
    tops = {folder.partition("/")[0] for folder in _INNER} | {USES, MARKER}
    there = sorted(cache.iterdir()) if cache.is_dir() else []
    return [path for path in there if path.name not in tops]


def _is_own(cache: Path, folder: str) -> bool:
    """Return whether a folder lies in the store itself: somebody may have put in a link instead."""
    steps = [cache.joinpath(*folder.split("/")[:n]) for n in range(1, folder.count("/") + 2)]
    return all(step.is_dir() and not step.is_symlink() for step in steps)


def _in(cache: Path, kind: str, folder: Path, depth: int) -> Iterator[Entry]:
    there = sorted(path for path in folder.iterdir() if not path.is_symlink())
    if depth > 1:
        for path in there:
            if path.is_dir():
                yield from _in(cache, kind, path, depth - 1)
        return
    names = {path.name for path in there}
    for path in there:
        name = path.relative_to(cache).as_posix()
        left = path.name.endswith((_PARTIAL, _DAMAGED, GONE)) or _ASIDE in path.name
        if left and not path.name.endswith(("-wal", "-shm")):
            yield Entry(kind, path, name, _beside(path, names), left_over=True)
        elif not _is_hidden(path) and name not in _INNER and path.name not in _NOT_KEPT:
            yield Entry(kind, path, name, _beside(path, names))


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name.endswith(("-wal", "-shm"))


def _beside(path: Path, names: set[str]) -> tuple[Path, ...]:
    # The log before the file: alone it would be taken for that of the next file of this name.
    beside = (f"{path.name}-wal", f"{path.name}-shm", f".{path.name}.digests")
    return tuple(path.with_name(name) for name in beside if name in names)
