"""Which names lm-eval knows, and what they stand for, without importing lm-eval.

lm-eval's own index parses some 14,000 YAML files, which takes half a minute on a small machine.
Names, tags and includes stand at the start of a line in all of them, so reading these lines gives
the same index in a second or two (a test compares the two, name by name). The definitions
themselves are loaded by lm-eval alone.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from infra.contracts.errors import EvaluationError, UnknownTask

Kind = Literal["task", "class", "group", "tag"]

_HEAD = re.compile(
    r"""^["']?(task|group|tag|include|class)["']?\s*:[ \t]*(.*?)[ \t]*(?:\#.*)?$"""
    r"""((?:\n[ \t]*-[ \t]+.*)*)""",
    re.MULTILINE,
)
_IGNORED_FOLDERS = {"__pycache__", ".ipynb_checkpoints"}  # as lm-eval does
_GROUP_FIELDS = {"group", "group_alias", "task", "aggregate_metric_list", "metadata", "include"}

_BEYOND = {
    "unsafe_code": "runs code that the model writes, and Assay has no sandbox around it",
    "doc_to_image": "shows pictures, and scores are read from an interface that takes text alone",
    "doc_to_audio": "plays sound, and scores are read from an interface that takes text alone",
}


@dataclass
class Name:
    """One name of the index."""

    kind: Kind
    definition: Path | None
    """YAML file; none for a tag."""

    members: set[str] = field(default_factory=set)
    """Of a tag: the tasks that carry it."""


@dataclass(frozen=True)
class Leaf:
    """One task that an entry of the exam asks."""

    name: str
    definition: Path | None
    """YAML file; none if the task is written out inside its group."""

    dataset: str | None
    """Dataset it names; none if its code decides."""

    options: Mapping[str, Any]
    """`dataset_kwargs` of the task."""

    own: bool
    """True if the dataset is named by the task's own file, not by a group around it."""

    beyond: str | None
    """What it asks that cannot be done here, if anything."""

    metrics: tuple[str, ...] = ()
    """Names of the metrics that its definition lists."""

    hub_metrics: tuple[str, ...] = ()
    """Those among them that `evaluate` loads from the hub."""


@dataclass(frozen=True)
class Entry:
    """One line of the exam: a task, or a group with a score of its own."""

    name: str
    kind: Literal["task", "group"]
    leaves: tuple[Leaf, ...]
    definitions: Mapping[str, Path]
    """Every name that has to be defined to load it → its YAML file, groups before tasks."""


class Catalog:
    """Every name that lm-eval knows."""

    def __init__(self, names: Mapping[str, Name]) -> None:
        self.names = names

    def entries(self, requested: Iterable[str]) -> dict[str, Entry]:
        """Return what the requested names stand for, in order, each once.

        A tag stands for its tasks. A group stays one entry if it has a score of its own, and
        stands for its members otherwise.

        Raises:
            UnknownTask: lm-eval knows no such name.
            EvaluationError: A task asks what cannot be done here, or a group has no score of its
                own and changes its members' settings.
        """
        expanded = {name: None for given in requested for name in self._expand(given)}
        entries = {name: self._entry(name) for name in expanded}
        for leaf in (leaf for entry in entries.values() for leaf in entry.leaves):
            if leaf.beyond:
                raise EvaluationError(
                    f"The task {leaf.name} {leaf.beyond}.",
                    remedy="Leave the task out.",
                    task=leaf.name,
                )
        return entries

    def _expand(self, name: str) -> Iterator[str]:
        known = self._find(name)
        if known.kind == "tag":
            yield from sorted(known.members)
        elif known.kind == "group":
            definition = _load(known.definition) if known.definition else {}
            if definition.get("aggregate_metric_list"):
                yield name
                return
            members = definition.get("task") or []
            if not all(isinstance(member, str) for member in members):
                given = [m if isinstance(m, str) else str(m.get("task")) for m in members]
                raise EvaluationError(
                    f"The group {name} has no score of its own and changes its tasks' settings.",
                    remedy=f"Name its tasks one by one: {', '.join(given)}.",
                    task=name,
                )
            for member in members:
                yield from self._expand(member)
        else:
            yield name

    def _find(self, name: str) -> Name:
        if name in self.names:
            return self.names[name]
        close = difflib.get_close_matches(name, self.names, n=5, cutoff=0.6)
        raise UnknownTask(
            f"lm-eval {lm_eval_version()} knows no task, group or tag named {name!r}.",
            cause=f"Similar names: {', '.join(close)}." if close else "",
            remedy="Correct the name in evaluation.tasks; `lm-eval ls all` lists every one.",
            task=name,
            close=close,
        )

    def _entry(self, name: str) -> Entry:
        kind: Literal["task", "group"] = "group" if self.names[name].kind == "group" else "task"
        definitions: dict[str, Path] = {}
        leaves = tuple(self._leaves([name], {}, definitions))
        return Entry(name, kind, leaves, definitions)

    def _leaves(
        self, members: Iterable[Any], overrides: Mapping[str, Any], definitions: dict[str, Path]
    ) -> Iterator[Leaf]:
        """Walk a group's members as lm-eval's task factory does; note the files it needs."""
        for member in members:
            item = {"task": member} if isinstance(member, str) else member
            name = str(item.get("group", item.get("task")))
            extra = {**overrides, **_settings(item)}
            known = self.names.get(name, Name("group" if "group" in item else "task", None))
            if known.kind == "tag":
                yield from self._leaves(sorted(known.members), extra, definitions)
                continue
            if known.definition:
                definitions[name] = known.definition
            own = _load(known.definition) if known.definition else {}
            if known.kind == "group":
                below = own.get("task", item.get("task"))
                below = below if isinstance(below, list) else []
                yield from self._leaves(below, {**_settings(own), **extra}, definitions)
            else:
                yield _leaf(name, known.definition, own, extra)


def _settings(item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in _GROUP_FIELDS}


def _leaf(
    name: str, definition: Path | None, own: Mapping[str, Any], extra: Mapping[str, Any]
) -> Leaf:
    merged = {**own, **extra}
    listed = merged.get("metric_list") or []
    metrics = [metric for metric in listed if isinstance(metric, dict)]
    return Leaf(
        name=name,
        definition=definition,
        dataset=merged.get("dataset_path"),
        options=merged.get("dataset_kwargs") or {},
        own=definition is not None and not extra.keys() & {"dataset_path", "dataset_kwargs"},
        beyond=next((what for key, what in _BEYOND.items() if merged.get(key)), None),
        metrics=tuple(str(metric.get("metric")) for metric in metrics),
        hub_metrics=tuple(str(m.get("metric")) for m in metrics if m.get("hf_evaluate")),
    )


def lm_eval_version() -> str:
    """Return the installed version of lm-eval."""
    return importlib.metadata.version("lm-eval")


def task_folder() -> Path:
    """Return the folder of lm-eval's task definitions."""
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise EvaluationError(
            "lm-eval is not installed in this environment.",
            remedy="Install the packages of infra/environments/orchestrator.txt.",
        )
    return Path(spec.submodule_search_locations[0]) / "tasks"


@cache
def catalog() -> Catalog:
    """Return lm-eval's names, read once per process."""
    return Catalog(_index(task_folder()))


def _index(root: Path) -> dict[str, Name]:
    """Index as `lm_eval.tasks._index.TaskIndex.build` does: sorted files, first come first."""
    files: list[str] = []
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if name not in _IGNORED_FOLDERS]
        files += [os.path.join(folder, name) for name in names if name.endswith(".yaml")]  # noqa: PTH118
    heads: dict[str, dict[str, list[str]]] = {}
    index: dict[str, Name] = {}
    for path in sorted(files):
        head = _head(path, heads)
        is_group = "group" in head and "class" not in head
        name = next(iter(head.get("group" if is_group else "task", [])), None)
        if name is None or name in index:
            continue
        if is_group:
            index[name] = Name("group", Path(path))
            continue
        index[name] = Name("class" if "class" in head else "task", Path(path))
        for tag in head.get("tag", []):
            index.setdefault(tag, Name("tag", None)).members.add(name)
    return index


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


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads definitions; code they name stays a name."""


_Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def _load(path: Path) -> dict[str, Any]:
    """Read a definition with what it includes; its own keys win."""
    own: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
    includes = own.pop("include", [])
    merged: dict[str, Any] = {}
    for included in [includes] if isinstance(includes, str) else includes:
        merged |= {k: v for k, v in _load(path.parent / included).items() if k != "task_list"}
    return merged | own
