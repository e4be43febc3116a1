"""What the names of a spec stand for, without importing lm-eval."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any, Literal

from infra.contracts.capability import Capability
from infra.contracts.commands import LM_EVAL
from infra.contracts.errors import EvaluationError, UnknownTask
from infra.contracts.progress import Progress, Silent
from infra.contracts.specs import EvaluationSpec
from infra.store.content import digest_of
from infra.store.settings import Settings
from infra.suite.harness.definitions.files import chain, task_folder
from infra.suite.harness.definitions.files import load as load_definition
from infra.suite.harness.definitions.index import Name, index, lm_eval_version
from infra.suite.harness.definitions.own import ANY, defines, own_folder, own_index
from infra.suite.own.definition import written

_GROUP_FIELDS = {"group", "group_alias", "task", "aggregate_metric_list", "metadata", "include"}

FORMATS = {"json", "csv", "parquet", "arrow", "text", "xml"}
"""Names that `datasets` takes for a file format, not for a repository."""

_GENERATES = "generate_until"
"""What lm-eval does where a definition does not say."""

_BEYOND = {
    "unsafe_code": "runs code that the model writes, and Assay has no sandbox around it",
    "doc_to_image": "shows pictures, and scores are read from an interface that takes text alone",
    "doc_to_audio": "plays sound, and scores are read from an interface that takes text alone",
}


@dataclass(frozen=True)
class Leaf:
    """One task without subtasks."""

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

    folders: tuple[Path, ...] = ()
    """Where relative paths of rows are sought beside the current folder: beside its definition, and
    beside those that it includes."""

    metrics: tuple[str, ...] = ()
    """Names of the metrics that its definition lists."""

    hub_metrics: tuple[str, ...] = ()
    """Those among them that `evaluate` loads from the hub."""

    coded: bool = False
    """True if code takes the rows, from wherever it likes."""

    embeds: bool = False
    """Whether its marks depend on vectors of texts, as its definition says by `embeds: true` in its
    metadata."""

    ranks: str | None = None
    """File beside its definition with a list that answers rank, as its metadata says."""

    output_type: str | None = None
    """What a model has to do, in lm-eval's words; none if code decides."""

    needs: tuple[str, ...] = ()
    """What a server has to be able to do, as `metadata: {needs: […]}` of its definition names it;
    empty if it has to write or to score as usual."""

    @property
    def source(self) -> str | None:
        """What tells its rows from those of other tasks; none if its code decides.

        Name and revision of a repository; of files, also which ones, and how they are read.
        """
        if self.dataset is None:
            return None
        if self.dataset in FORMATS or is_a_path(self.dataset):
            named = [self.options, [str(one) for one in self.folders]]
            return f"{self.dataset} {digest_of(named)[:16]}"
        revision = self.options.get("revision")
        return f"{self.dataset}@{revision}" if revision else self.dataset


@dataclass(frozen=True)
class Entry:
    """A task, or a group with a score of its own."""

    name: str
    kind: Literal["task", "group"]
    leaves: tuple[Leaf, ...]
    definitions: Mapping[str, Path]
    """Every name that has to be defined to load it → its YAML file, groups before tasks."""


class Catalog:
    """Every name that lm-eval knows."""

    def __init__(
        self,
        names: Mapping[str, Name],
        *,
        own: Path | None = None,
        faults: Sequence[tuple[str, EvaluationError]] = (),
    ) -> None:
        """Take an index.

        Args:
            names: Every name.
            own: The user's folder of definitions, if there is one.
            faults: What is wrong with some files in there, each with the name that it concerns, or
                with all that the file says.
        """
        self.names = names
        self.own = own
        self.faults = faults

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
                )
        return entries

    def _expand(self, name: str) -> Iterator[str]:
        found = self._find(name)
        if found.kind == "tag":
            yield from sorted(found.members)
        elif found.kind == "group":
            definition = load_definition(found.definition) if found.definition else {}
            if definition.get("aggregate_metric_list"):
                yield name
                return
            members = definition.get("task") or []
            if not all(isinstance(member, str) for member in members):
                given = [m if isinstance(m, str) else str(m.get("task")) for m in members]
                raise EvaluationError(
                    f"The group {name} has no score of its own and changes its tasks' settings.",
                    remedy=f"Name its tasks one by one: {', '.join(given)}.",
                )
            for member in members:
                yield from self._expand(member)
        else:
            yield name

    def _find(self, name: str) -> Name:
        for concerned, error in self.faults:
            unknown = name not in self.names
            if (
                concerned == name
                or defines(concerned, name)
                or (unknown and (concerned == ANY or name in concerned))
            ):
                raise error
        if name in self.names:
            return self.names[name]
        close = difflib.get_close_matches(name, self.names, n=5, cutoff=0.6)
        where = f", nor does {self.own}" if self.own else ""
        raise UnknownTask(
            f"lm-eval {lm_eval_version()} knows no task, group or tag named {name!r}{where}.",
            cause=f"Similar names: {', '.join(close)}." if close else "",
            remedy=self._remedy(name),
        )

    def _remedy(self, name: str) -> str:
        if name.endswith((".yaml", ".yml")):
            return (
                "Set evaluation.include_path to the folder of that file, and name the task as its "
                "`task:` does."
            )
        for path in sorted(self.own.rglob("*.yml")) if self.own else ():
            if name in path.read_text(encoding="utf-8", errors="replace"):
                return f"Rename {path} to *.yaml: lm-eval reads no other definitions."
        listing = f" --include_path {shlex.quote(str(self.own))}" if self.own else ""
        return (
            f"Correct the name in evaluation.tasks; `{LM_EVAL} ls tasks{listing}` lists every one. "
            "Definitions of your own are found in evaluation.include_path."
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
            changed = {**overrides, **_settings(item)}
            found = self.names.get(name, Name("group" if "group" in item else "task", None))
            if found.kind == "tag":
                yield from self._leaves(sorted(found.members), changed, definitions)
                continue
            if found.definition:
                definitions[name] = found.definition
            own = load_definition(found.definition) if found.definition else {}
            if found.kind == "group":
                below = own.get("task", item.get("task"))
                below = below if isinstance(below, list) else []
                yield from self._leaves(below, {**_settings(own), **changed}, definitions)
            else:
                yield _leaf(name, found.definition, own, changed)


def _settings(item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in _GROUP_FIELDS}


def _leaf(
    name: str, definition: Path | None, own: Mapping[str, Any], changed: Mapping[str, Any]
) -> Leaf:
    merged = {**own, **changed}
    listed = merged.get("metric_list") or []
    metrics = [metric for metric in listed if isinstance(metric, dict)]
    return Leaf(
        name=name,
        definition=definition,
        dataset=merged.get("dataset_path") or None,
        options=merged.get("dataset_kwargs") or {},
        own=definition is not None and not changed.keys() & {"dataset_path", "dataset_kwargs"},
        beyond=next((what for key, what in _BEYOND.items() if merged.get(key)), None),
        metrics=tuple(str(metric.get("metric")) for metric in metrics),
        hub_metrics=tuple(str(m.get("metric")) for m in metrics if m.get("hf_evaluate")),
        folders=tuple(dict.fromkeys(one.parent for one in (definition, *chain(definition))))
        if definition
        else (),
        embeds=_says(merged, "embeds") is True,
        ranks=found if isinstance(found := _says(merged, "ranks"), str) else None,
        coded=any(merged.get(key) for key in ("class", "custom_dataset")),
        output_type=None if merged.get("class") else str(merged.get("output_type", _GENERATES)),
        needs=_needs(merged.get("metadata")),
    )


def _says(definition: Mapping[str, Any], key: str) -> Any:
    metadata = definition.get("metadata")
    return metadata.get(key) if isinstance(metadata, Mapping) else None


def _needs(metadata: Any) -> tuple[str, ...]:
    named = metadata.get("needs") if isinstance(metadata, Mapping) else None
    known = {one.value for one in Capability}
    return tuple(str(one) for one in named if str(one) in known) if isinstance(named, list) else ()


def is_a_path(dataset: str) -> bool:
    """Return whether `dataset_path` names a folder or file here rather than a repository."""
    return dataset.startswith(("/", ".", "~")) or dataset.count("/") > 1 or Path(dataset).exists()


_lock = Lock()
_lm_evals: dict[Path, Catalog] = {}


def catalog(
    include_path: str | None = None,
    *,
    settings: Settings,
    progress: Progress | None = None,
    files: Mapping[str, str] = MappingProxyType({}),
) -> Catalog:
    """Return every name that a run may use.

    lm-eval's own are read once per process. Where the user's folder has the same name, the user's
    counts, as for lm-eval's `--include_path`.

    Args:
        include_path: `EvaluationSpec.include_path`.
        settings: Where lm-eval's index is kept.
        progress: Hears if that has to be built.
        files: Name → file of rows, of `TaskSpec`. What is wrong with a file is raised when its name
            is asked for.

    Raises:
        EvaluationError: There is no such folder, or it defines nothing.
    """
    root = task_folder()
    with _lock:
        if root not in _lm_evals:
            _lm_evals[root] = Catalog(index(root, settings, progress or Silent()))
    lm_evals = _lm_evals[root]
    if include_path is None and not files:
        return lm_evals
    own = own_folder(include_path) if include_path else None
    names, faults = own_index(own) if own else ({}, [])
    every = {**lm_evals.names, **names}
    for name, file in files.items():
        try:
            if name in every:
                raise _taken(name, file)
            every[name] = Name("task", str(written(name, file, settings)))
        except EvaluationError as error:
            faults.insert(0, (name, error))
    return Catalog(every, own=own, faults=faults)


def catalog_of(
    spec: EvaluationSpec, *, settings: Settings, progress: Progress | None = None
) -> Catalog:
    """Return every name that a spec may use; see `catalog`."""
    files = {task.name: task.file for task in spec.tasks if task.file}
    return catalog(spec.include_path, settings=settings, progress=progress, files=files)


def _taken(name: str, file: str) -> EvaluationError:
    return EvaluationError(
        f"The task of {file} is called {name}, as another task is.",
        cause="Whoever reads the report would take it for that one.",
        remedy="Give it another name in evaluation.tasks.",
    )
