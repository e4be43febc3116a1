"""Reads rows as lm-eval does, also from folders that `datasets.load_dataset` refuses.

Imports datasets; whoever must be quick imports this late.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, load_dataset, load_from_disk

from infra.store.content import build_once, digest_of

_SAVED_SPLITS, _SAVED_ROWS = "dataset_dict.json", "state.json"
_SPLITS = ("test_split", "validation_split", "training_split", "fewshot_split")


def read_rows(task: Mapping[str, Any], *, path: str, **options: Any) -> DatasetDict:
    """Return every split of a dataset.

    A folder that `save_to_disk` wrote is read by its counterpart. A loading script beside data
    files is passed over, as it is on a hub: its code is never run.

    Args:
        task: What the task says of its splits: one that was saved alone goes by their name.
        path: Repository, format or folder, as for `load_dataset`, whose errors are raised.
        options: As for `load_dataset`.
    """
    folder = Path(path)
    if folder.is_absolute() and folder.is_dir():
        if saved := _saved(folder, options.get("name")):
            return _from_disk(saved, task)
        if any(folder.glob("*.py")):
            path = str(_without_code(folder, Path(options["cache_dir"])))
    return load_dataset(path=path, **options)


def _saved(folder: Path, config: str | None) -> Path | None:
    """Return the folder that `save_to_disk` wrote: this one, or that of a configuration in it."""
    for place in (folder / config, folder) if config else (folder,):
        if any((place / name).is_file() for name in (_SAVED_SPLITS, _SAVED_ROWS)):
            return place
    return None


def _from_disk(folder: Path, task: Mapping[str, Any]) -> DatasetDict:
    # In memory: what is made of rows on disk would be written beside them.
    found = load_from_disk(str(folder), keep_in_memory=True)
    if isinstance(found, DatasetDict):
        return found
    return DatasetDict({str(found.split) if found.split else _split(task, found): found})


def _split(task: Mapping[str, Any], rows: Dataset) -> str:
    named = [task[key] for key in _SPLITS if task.get(key)]
    return str(named[0]) if named else str(rows.split or "test")


def _without_code(folder: Path, cache: Path) -> Path:
    """Return a folder with the same files but those of Python."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.suffix != ".py")
    view = cache / "without-code" / digest_of([str(file) for file in files])[:16] / folder.name

    def link(partial: Path) -> None:
        for file in files:
            place = partial / file.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(file)

    build_once(view, link)
    return view
