"""Which names lm-eval knows, and what they stand for, without importing lm-eval.

lm-eval's own index parses some 14,000 YAML files, which takes half a minute on a small machine.
Names, tags and includes stand at the start of a line in all of them, so reading these lines gives
the same index in a second or two (a test compares the two, name by name). The definitions
themselves are loaded by lm-eval alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from infra.contracts.errors import EvaluationError
from infra.models import lfs
from infra.suite.harness.definitions.files import load as load_definition

Kind = Literal["task", "class", "group", "tag"]

_HEAD = re.compile(
    r"""^["']?(task|group|tag|include|class)["']?\s*:[ \t]*(.*?)[ \t]*(?:\#.*)?$"""
    r"""((?:\n[ \t]*-[ \t]+.*)*)""",
    re.MULTILINE,
)
ANY = "any"
"""Stands for the names of a file that does not tell them."""

_NAMING = ("task", "group", "tag", "class")
_IGNORED_FOLDERS = {"__pycache__", ".ipynb_checkpoints"}  # as lm-eval does


@dataclass
class Name:
    """One name of the index."""

    kind: Kind
    definition: Path | None
    """YAML file; none for a tag."""

    members: set[str] = field(default_factory=set)
    """Of a tag: the tasks that carry it."""


def index(root: Path) -> dict[str, Name]:
    """Index as `lm_eval.tasks._index.TaskIndex.build` does: sorted files, first come first."""
    heads: dict[str, dict[str, list[str]]] = {}
    found: dict[str, Name] = {}
    for path in _files(root):
        _enter(found, Path(path), _head(path, heads))
    return found


def _files(root: Path) -> list[str]:
    files: list[str] = []
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if name not in _IGNORED_FOLDERS]
        files += [os.path.join(folder, name) for name in names if name.endswith(".yaml")]  # noqa: PTH118
    return sorted(files)


def _enter(index: dict[str, Name], path: Path, head: Mapping[str, list[str]]) -> None:
    is_group = "group" in head and "class" not in head
    name = next(iter(head.get("group" if is_group else "task", [])), None)
    if name is None or name in index:
        return
    if is_group:
        index[name] = Name("group", path)
        return
    index[name] = Name("class" if "class" in head else "task", path)
    for tag in head.get("tag", []):
        index.setdefault(tag, Name("tag", None)).members.add(name)


def _head(path: str, heads: dict[str, dict[str, list[str]]]) -> dict[str, list[str]]:
    """Return the naming keys of a definition, those of the files it includes among them."""
    if path not in heads:
        own = {key: _values(*rest) for key, *rest in _HEAD.findall(_text(path))}
        merged: dict[str, list[str]] = {}
        for included in own.pop("include", []):
            below = os.path.join(os.path.dirname(path), included)  # noqa: PTH118, PTH120
            merged |= _head(os.path.normpath(below), heads)
        heads[path] = merged | own
    return heads[path]


def _text(path: str) -> str:
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 -- 15,000 files; pathlib takes thrice as long
            return stream.read().decode()
    except OSError:
        return ""


def _values(inline: str, below: str) -> list[str]:
    if not inline:
        items = re.split(r"\n[ \t]*-[ \t]+", below)
    elif inline.startswith("["):
        items = inline.strip("[]").split(",")
    else:
        items = [inline]
    return [text for item in items if (text := item.strip().strip("\"'"))]


def names_told(text: str, name: str) -> bool:
    """Tell whether the text of a definition, whole or broken, says that it defines a name."""
    return any(
        name in _values(inline, below)
        for key, inline, below in _HEAD.findall(text)
        if key in ("task", "group")
    )


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
    """Index the user's definitions, and what is wrong with some of them.

    lm-eval passes over what it cannot read, and over all but the first of two with one name.

    Returns:
        Its names; and what is wrong, each with the name that it concerns or all that the file says.
    """
    index: dict[str, Name] = {}
    faults: list[tuple[str, EvaluationError]] = []
    for path in map(Path, _files(root)):
        try:
            found = load_definition(path)
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


def _defined_twice(name: str, first: Path, second: Path) -> EvaluationError:
    return EvaluationError(
        f"evaluation.include_path defines the task {name} twice: in {first} and in {second}.",
        cause="lm-eval would take the first of the two and say nothing.",
        remedy="Give one of them another name, or move it out of the folder.",
    )


def _listed(value: Any) -> list[str]:
    return [str(item) for item in (value if isinstance(value, list) else [value])]
