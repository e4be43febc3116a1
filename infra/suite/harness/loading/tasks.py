"""Loads lm-eval tasks with pure documents, and says what is wrong with rows that do not fit.

Imports lm-eval; whoever must be quick imports this late.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jinja2
import lm_eval.utils
from datasets import Dataset, DatasetDict
from datasets.exceptions import DatasetNotFoundError
from jinja2.sandbox import SandboxedEnvironment
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager
from lm_eval.tasks._factory import TaskFactory
from lm_eval.tasks._index import Entry as IndexEntry

from infra.contracts.errors import AssayError, DatasetError
from infra.contracts.progress import Progress
from infra.suite.harness.definitions.catalog import Entry
from infra.suite.harness.definitions.dependencies import packages
from infra.suite.harness.definitions.task_faults import (
    fault,
    lacks,
    misnamed,
    without_data,
)
from infra.suite.harness.libraries.undisturbed import heard
from infra.suite.harness.loading.purity import prepared_once
from infra.suite.harness.rows.folders import read_rows


def _templates() -> jinja2.Environment:
    """Return what fills in the templates of definitions: as lm-eval's own, but in a sandbox.

    A template writes a text; outside of a sandbox it can run any command. lm-eval compiles it anew
    for every document and example, which takes ten times as long as filling it in.
    """
    own = lm_eval.utils.env
    found = SandboxedEnvironment(
        loader=own.loader,
        undefined=own.undefined,
        keep_trailing_newline=own.keep_trailing_newline,
    )
    found.filters.update(own.filters)
    found.from_string = functools.lru_cache(maxsize=1024)(found.from_string)  # type: ignore[assignment, method-assign]
    return found


lm_eval.utils.env = _templates()

_UNFIT = (jinja2.UndefinedError, LookupError, TypeError, AttributeError, ValueError)
"""What a task's code raises on rows of another shape."""


def load_tasks(
    definitions: Path,
    entries: Mapping[str, Entry],
    progress: Progress,
    code: Mapping[str, Sequence[Path]] = MappingProxyType({}),
    places: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> dict[str, dict[str, Any]]:
    """Load every task of a suite, so that nothing is missing once a server is up.

    Args:
        definitions: Folder that `write_definitions` made.
        entries: What to load.
        progress: Hears about every task.
        code: Entry → files of the user's own code that it depends on, which are read anew.
        places: Entry → task → the keys of its definition that say where its rows are; a group
            around it may have said the same in other words.

    Returns:
        Entry → what `lm_eval.evaluator.evaluate` takes: its tasks and groups.

    Raises:
        DatasetError: A dataset is missing, gated, empty or of another shape.
        EvaluationError: A task cannot be loaded or run here for another reason.
    """
    manager = TaskManager(include_path=str(definitions), include_defaults=False)
    total = sum(len(entry.leaves) for entry in entries.values())
    sources = {leaf.name: leaf.dataset for entry in entries.values() for leaf in entry.leaves}
    manager._factory = _Factory(sources, total, progress)
    _forget(file for files in code.values() for file in files)
    loaded = {}
    for name in entries:
        _make_room(code.get(name, ()))
        manager._factory.places = places.get(name, {})
        loaded[name] = manager.load([name])
    return loaded


def _forget(code: Iterable[Path]) -> None:
    """Make Python read code of the user's anew.

    It takes a file for unchanged by its time and size, and a module that it has for good.
    """
    files = {str(file.resolve()) for file in code}
    ours = __name__.partition(".")[0]
    # Where there is none, as mostly, thousands of modules are not looked at.
    for name, module in list(sys.modules.items()) if files else ():
        if name == "__main__" or name.partition(".")[0] == ours:
            continue
        if (place := getattr(module, "__file__", None)) and str(Path(place).resolve()) in files:
            del sys.modules[name]
    for file in files:
        with suppress(OSError):
            Path(importlib.util.cache_from_source(file)).unlink(missing_ok=True)
    importlib.invalidate_caches()


def _make_room(code: Iterable[Path]) -> None:
    """Forget modules that stand beside another task's definition and have the name of one here."""
    for file in code:
        place = getattr(sys.modules.get(file.stem), "__file__", None)
        if place and Path(place).resolve() != file.resolve() and _is_loose(Path(place)):
            del sys.modules[file.stem]


def _is_loose(place: Path) -> bool:
    """Return whether a module belongs neither to Python nor to an installed package."""
    return not any(place.is_relative_to(root) for root in (sys.prefix, sys.base_prefix))


class _Factory(TaskFactory):  # type: ignore[misc]
    """lm-eval's task factory, with each dataset read once and documents prepared once, purely."""

    def __init__(self, sources: Mapping[str, str | None], total: int, progress: Progress) -> None:
        super().__init__()
        self.places: Mapping[str, Mapping[str, Any]] = {}  # of the entry that is loaded
        self._sources = sources
        self._total = total
        self._progress = progress
        self._built = 0
        self._datasets: dict[str, DatasetDict] = {}
        self._columns: list[str] = []  # of the dataset read last

    def _build_task(self, entry: IndexEntry, overrides: dict[str, Any] | None) -> Task:
        dataset = self._sources.get(entry.name) or entry.name
        self._columns = []
        try:
            task = super()._build_task(entry, overrides)
        except AssayError:
            raise
        except (Exception, SystemExit) as error:  # whatever the task's code raises
            if wrong := misnamed(entry.name, error):
                raise wrong from error
            if self._columns and isinstance(error, _UNFIT) and not lacks(error):
                raise _unfit(entry.name, dataset, error, self._columns) from error
            imports = packages(entry.yaml_path) if entry.yaml_path else ()
            raise fault(entry.name, error, imports) from error
        if entry.yaml_path and (lacking := without_data(entry.name, entry.yaml_path)):
            raise lacking
        self._built += 1
        self._progress.update("tasks loaded", self._built, self._total, "tasks")
        return task

    def _load_full_config(
        self, entry: IndexEntry, overrides: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        with heard(self._progress, entry.name):
            config: dict[str, Any] = super()._load_full_config(entry, overrides)
        config |= self.places.get(entry.name, {})
        dataset = self._sources.get(entry.name) or entry.name
        plain = "class" not in config and not callable(config.get("custom_dataset"))
        if plain and config.get("dataset_path"):
            # lm-eval's own hook for rows from elsewhere: what it returns is taken as it is.
            splits = self._read(entry.name, dataset, config)
            config["custom_dataset"] = lambda **_: splits
        split = config.get("test_split") or config.get("validation_split")
        for holder in (config, config.get("fewshot_config")):
            if isinstance(holder, dict) and callable(holder.get("process_docs")):
                holder["process_docs"] = self._prepare(
                    holder["process_docs"], entry.name, dataset, split
                )
        return config

    def _read(self, task: str, dataset: str, config: Mapping[str, Any]) -> DatasetDict:
        """Read a dataset as lm-eval does, and check the splits that the task names."""
        options = dict(config.get("dataset_kwargs") or {})
        options.pop("trust_remote_code", None)  # as lm-eval does
        place = {"path": config["dataset_path"], "name": config.get("dataset_name"), **options}
        key = repr(place)
        if key not in self._datasets:
            self._progress.say(f"reading the rows of {dataset}")
            try:
                self._datasets[key] = read_rows(config, **place)
            except Exception as error:  # any library of any file format may be at its root
                raise _unreadable(task, dataset, place, error) from error
        splits = self._datasets[key]
        self._columns = sorted({name for names in splits.column_names.values() for name in names})
        for role in ("test_split", "validation_split", "training_split", "fewshot_split"):
            name = config.get(role)
            if name and name not in splits:
                raise DatasetError(
                    f"{dataset} has no split {name!r}, which {task} reads; it has "
                    f"{', '.join(splits)}.",
                    remedy="Give the file of that split, named as in the original dataset.",
                )
        split = config.get("test_split") or config.get("validation_split")
        if split:
            _require_rows(splits[split], task, dataset, split)
        return splits

    def _prepare(
        self, prepare: Callable[[Dataset], Dataset], task: str, dataset: str, split: str | None
    ) -> Callable[[Dataset], Dataset]:
        def checked(rows: Dataset) -> Dataset:
            try:
                documents = prepare(rows)
            except _UNFIT as error:
                raise _unfit(task, dataset, error, rows.column_names) from error
            if str(rows.split) == split:
                _require_rows(documents, task, dataset, split)
            return documents

        checked.__wrapped__ = prepare  # type: ignore[attr-defined]
        return prepared_once(checked, task)


def _require_rows(documents: Any, task: str, dataset: str, split: str) -> None:
    if len(documents) == 0:
        raise DatasetError(
            f"{dataset} has no rows for {task} in split {split!r}.",
            cause="The file is empty, or the task's own selection leaves no row.",
            remedy="Give it rows, or leave the task out.",
        )


def _unfit(task: str, dataset: str, error: Exception, columns: list[str]) -> DatasetError:
    return DatasetError(
        f"The rows of {dataset} have another shape than {task} reads: "
        f"{type(error).__name__}: {_short(error)}.",
        cause=f"The columns are {', '.join(columns)}." if columns else "",
        remedy="Name and fill the columns as the original dataset does.",
    )


def _unreadable(
    task: str, dataset: str, place: Mapping[str, Any], error: Exception
) -> DatasetError:
    root = error
    while root.__cause__ and isinstance(root.__cause__, Exception):
        root = root.__cause__
    text = _short(root)
    config = f" (configuration {place['name']})" if place.get("name") else ""
    if Path(str(place["path"])).is_absolute():
        remedy = (
            "The folder must hold what the original repository holds: data files, and a README.md "
            "whose `configs:` block names the files of each configuration and split."
        )
    elif "gated" in str(error):
        remedy = (
            f"Ask for access on {_hub()}/datasets/{dataset} and set HF_TOKEN, or name a folder "
            f"with its rows in evaluation.datasets[{dataset!r}]."
        )
    else:
        remedy = (
            "Check the network, set HF_ENDPOINT to a mirror, or name a folder or a ModelScope "
            f"dataset with its rows in evaluation.datasets[{dataset!r}]."
        )
    return DatasetError(
        f"The rows of {dataset}{config} for {task} cannot be read: {type(root).__name__}: {text}",
        cause="The hub knows no such dataset for this user."
        if isinstance(error, DatasetNotFoundError)
        else "",
        remedy=remedy,
    )


def _hub() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or repr(error)
