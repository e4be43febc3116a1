"""lm-eval's definitions, pointed to where the rows of a run are.

The definitions stay lm-eval's own: for each name a file is written that includes the package's
file and says nothing but where the rows are. The folder of these files serves the stock command
line too, as `--include_path`. `datasets` remembers prepared rows under a name that does not change
when a file is edited in place, so it gets a cache folder of its own for each content.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from infra.contracts.errors import DatasetError
from infra.store.content import build_once, digest_of
from infra.store.settings import Settings
from infra.store.usage import used
from infra.suite.harness.definitions.catalog import Entry, Leaf
from infra.suite.harness.rows.sources import Rows

_OF_A_REPOSITORY = {"revision", "token", "trust_remote_code", "cache_dir"}


def write_definitions(
    entries: Iterable[Entry], rows: Mapping[str, Rows], settings: Settings
) -> Path:
    """Write the definitions of some entries with their rows, and return the folder.

    Raises:
        DatasetError: The rows of a task that is written out inside a group cannot be redirected.
    """
    files: dict[str, str] = {}
    for entry in entries:
        leaves = {leaf.name: leaf for leaf in entry.leaves}
        for leaf in entry.leaves:
            _require_redirectable(leaf, rows, entry.name)
        for name, definition in entry.definitions.items():
            content: dict[str, Any] = {"include": str(definition)}
            if name in leaves:
                content |= place(leaves[name], rows, settings)
            # lm-eval takes the first file in order for a name that is a group and a tag as well.
            order = "task" if name in leaves else "group"
            files[f"{order}-{quote(name, safe=' ')}.yaml"] = yaml.safe_dump(content)
    folder = settings.cache / "tasks" / digest_of(files)[:32]

    def write(partial: Path) -> None:
        for name, text in files.items():
            (partial / name).write_text(text, encoding="utf-8")

    build_once(folder, write)
    return folder


def prepared_folder(rows: Rows, settings: Settings) -> Path:
    """Return where `datasets` keeps what it made of rows in files here."""
    folder = settings.cache.absolute() / "rows" / digest_of(rows.digest)[:32]
    used(folder)
    return folder


def place(leaf: Leaf, rows: Mapping[str, Rows], settings: Settings) -> dict[str, Any]:
    """Return the keys of a definition that say where the rows are."""
    if leaf.source is None or (found := rows[leaf.source]).digest is None:
        return {}
    prepared = prepared_folder(found, settings)
    if found.options is not None:
        return {"dataset_kwargs": {**found.options, "cache_dir": str(prepared)}}
    if found.folder is None:
        return {"dataset_kwargs": {**leaf.options, "revision": found.digest}}
    options = {key: val for key, val in leaf.options.items() if key not in _OF_A_REPOSITORY}
    return {
        "dataset_path": str(found.folder),
        "dataset_kwargs": {**options, "cache_dir": str(prepared)},
    }


def _require_redirectable(leaf: Leaf, rows: Mapping[str, Rows], entry: str) -> None:
    if leaf.source and rows[leaf.source].elsewhere and not leaf.own:
        raise DatasetError(
            f"The rows of {leaf.dataset} cannot be taken from elsewhere for {leaf.name}.",
            cause=f"The group {entry} names the dataset itself, above its tasks' definitions.",
            remedy=f"Remove evaluation.datasets[{leaf.dataset!r}], or name other tasks.",
        )
