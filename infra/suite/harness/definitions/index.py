"""Which names lm-eval knows, and what they stand for: lm-eval's own index, remembered.

To build it lm-eval parses some 14,000 YAML files, and what half of them include once more for each
of them, in eight seconds. Here its own parts do so with each file parsed once, in four and a half.
What is found is kept under the names and marks of these files and of those that they may include,
whatever their names end with; looking at those takes a tenth of a second, and lm-eval is not
imported.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from infra.contracts.progress import Progress
from infra.store.content import Mark, code_digest, digest_of, is_settled, mark, write_atomically
from infra.store.settings import Settings
from infra.store.usage import used
from infra.suite.harness.libraries.quiet import quiet

Kind = Literal["task", "class", "group", "tag"]

_HERE = "suite/harness/definitions/index.py"

_NEVER_INCLUDED = (".py", ".pyc", ".md")
"""Ends of names of files that no definition includes."""

_KINDS: dict[str, Kind] = {"TASK": "task", "PY_TASK": "class", "GROUP": "group", "TAG": "tag"}


@dataclass
class Name:
    """One name of the index."""

    kind: Kind
    file: str | None
    """Path of its YAML file; none for a tag. There are 14,000 names, of which a run needs few."""

    members: set[str] = field(default_factory=set)
    """Of a tag: the tasks that carry it."""

    @property
    def definition(self) -> Path | None:
        """The YAML file; none for a tag."""
        return Path(self.file) if self.file else None


def index(root: Path, settings: Settings, progress: Progress) -> dict[str, Name]:
    """Return lm-eval's index of a folder of definitions.

    Args:
        root: Folder of YAML files.
        settings: Where the index is kept. If it cannot be, it is built anew.
        progress: Hears if it has to be built.
    """
    marks = dict(_marks(root))
    settled = all(map(is_settled, marks.values()))
    key = digest_of([lm_eval_version(), code_digest(_HERE), sorted(marks.items())])
    kept = settings.cache / "task-index" / f"{key[:32]}.json"
    used(kept)
    try:
        found = _names(kept.read_text(encoding="utf-8"), root)
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        progress.say("lm-eval lists its tasks, once for each version of them")
        text = _built(root)
        found = _names(text, root)
        if settled and dict(_marks(root)) == marks:
            with suppress(OSError):
                write_atomically(kept, text)
    return found


def lm_eval_version() -> str:
    """Return the installed version of lm-eval."""
    return importlib.metadata.version("lm-eval")


def _marks(root: Path) -> Iterator[tuple[str, Mark]]:
    """Yield what tells each file from what it was; links to files elsewhere are followed."""
    folders, beside = [str(root)], len(str(root)) + 1
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif not entry.name.endswith(_NEVER_INCLUDED) and entry.is_file():
                    yield entry.path[beside:], mark(entry.stat())


def entries(root: Path) -> dict[str, Any]:
    """Return what lm-eval's `TaskIndex.build` finds in a folder: name → its `Entry`."""
    from lm_eval.tasks._index import TaskIndex

    said = _Said()
    found: dict[str, Any] = {}
    for path in TaskIndex._iter_yaml_files(root):
        with suppress(Exception):  # as lm-eval does: a file that defines nothing stops no other
            TaskIndex.process_cfg(
                said.with_included(said.place(path.parent, path.name), set()), path, found
            )
    return found


class _Said:
    """What files of definitions say: lm-eval's `load_yaml`, which reads what is included anew."""

    def __init__(self) -> None:
        self._folder: Callable[[Path], Path] = cache(Path.resolve)
        self._parsed = cache(_parsed)
        self.place = cache(self._place)

    def with_included(self, path: Path, seen: set[Path]) -> dict[str, Any]:
        """Return what a file says, and what it includes says where it is silent.

        Like there a file that is included a second time counts as a cycle.
        """
        if path in seen:
            raise ValueError(f"Include cycle at {path}")
        seen.add(path)
        own = self._parsed(path)
        if "include" not in own:
            return own.copy()
        includes = own["include"]
        merged: dict[str, Any] = {}
        for name in includes if isinstance(includes, list) else [includes]:
            included = self.with_included(self.place(path.parent, name), seen)
            included.pop("task_list", None)
            merged |= included
        return merged | {key: value for key, value in own.items() if key != "include"}

    def _place(self, folder: Path, name: str) -> Path:
        path = folder / name
        path = self._folder(path.parent) / path.name
        return path.resolve() if path.is_symlink() else path


def _parsed(path: Path) -> dict[str, Any]:
    from lm_eval.tasks._yaml_loader import load_yaml

    said: dict[str, Any] = load_yaml(path, resolve_func=False, recursive=False)
    return said


def _built(root: Path) -> str:
    with quiet():
        found = entries(root).values()
    return json.dumps(
        {
            entry.name: [
                kind := _KINDS[entry.kind.name],
                entry.yaml_path.relative_to(root).as_posix() if entry.yaml_path else None,
                sorted(entry.tags) if kind == "tag" else [],
            ]
            for entry in found
        }
    )


def _names(text: str, root: Path) -> dict[str, Name]:
    return {
        name: Name(kind, f"{root}/{place}" if place else None, set(members))
        for name, (kind, place, members) in json.loads(text).items()
    }
