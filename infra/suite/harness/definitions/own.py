"""The user's own folder of definitions: which names it defines, and what is wrong in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.contracts.errors import EvaluationError
from infra.models import lfs
from infra.suite.harness.definitions.files import load
from infra.suite.harness.definitions.index import Name

ANY = "any"
"""Stands for the names of a file that does not say them."""

_NAMING = ("task", "group", "tag", "class")
_IGNORED_FOLDERS = {"__pycache__", ".ipynb_checkpoints"}  # as lm-eval does


def own_folder(include_path: str) -> Path:
    """Return the user's folder of definitions, absolute.

    Raises:
        EvaluationError: There is no such folder.
    """
    folder = Path(include_path).expanduser().absolute()
    if not folder.is_dir():
        raise EvaluationError(
            f"evaluation.include_path should be a folder with task definitions, but {folder} "
            + ("is a file." if folder.exists() else "is not there."),
            cause=f"The path is relative to {Path.cwd()}."
            if not Path(include_path).expanduser().is_absolute()
            else "",
            remedy="Set evaluation.include_path to the folder that holds your YAML files.",
        )
    return folder


def own_index(root: Path) -> tuple[dict[str, Name], list[tuple[str, EvaluationError]]]:
    """Index the user's definitions as lm-eval does, and say what is wrong with some of them.

    lm-eval passes over what it cannot read, and over all but the first of two with one name.

    Returns:
        Its names; and what is wrong, each with the name that it concerns or all that the file says.
    """
    index: dict[str, Name] = {}
    faults: list[tuple[str, EvaluationError]] = []
    for path in sorted(root.rglob("*.yaml"), key=Path.as_posix):
        if not _IGNORED_FOLDERS.isdisjoint(path.parts):
            continue
        try:
            found = load(path)
        except EvaluationError as error:
            text = path.read_text(encoding="utf-8", errors="replace")
            faults.append((ANY if lfs.is_pointer(path) else text, error))
            continue
        head = {key: _listed(found[key]) for key in _NAMING if found.get(key)}
        name = next(iter(head.get("task", head.get("group", []))), "")
        first = index[name].definition if name in index else None
        if first and not isinstance(found.get("task"), list):
            faults.insert(0, (name, _defined_twice(name, first, path)))
        _enter(index, path, head)
    return index, faults


def _enter(index: dict[str, Name], path: Path, head: Mapping[str, list[str]]) -> None:
    is_group = "group" in head and "class" not in head
    name = next(iter(head.get("group" if is_group else "task", [])), None)
    if name is None or name in index:
        return
    if is_group:
        index[name] = Name("group", str(path))
        return
    index[name] = Name("class" if "class" in head else "task", str(path))
    for tag in head.get("tag", []):
        index.setdefault(tag, Name("tag", None)).members.add(name)


def defines(text: str, name: str) -> bool:
    """Return whether a broken definition says that it defines a name."""
    line = rf"""^["']?(?:task|group)["']?\s*:\s*["']?{re.escape(name)}["']?\s*(?:\#.*)?$"""
    return re.search(line, text, re.MULTILINE) is not None


def _defined_twice(name: str, first: Path, second: Path) -> EvaluationError:
    return EvaluationError(
        f"evaluation.include_path defines the task {name} twice: in {first} and in {second}.",
        cause="lm-eval would take the first of the two and say nothing.",
        remedy="Give one of them another name, or move it out of the folder.",
    )


def _listed(value: Any) -> list[str]:
    return [str(item) for item in (value if isinstance(value, list) else [value])]
