"""Where the rows of each dataset are, and what identifies them.

Files are found in a folder as `datasets` finds them in a repository of the same layout: by the
`configs:` block of its README, or by their names. Rows whose content nobody knows (a hub that does
not answer, code that makes them, an address on the web) have no digest.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from infra.contracts.errors import DatasetError, HubUnreachable, WeightsError
from infra.contracts.progress import Progress
from infra.contracts.records import FileDigest
from infra.contracts.specs import DatasetSpec, EvaluationSpec
from infra.models import lfs
from infra.store.content import digest_file, digest_files, digest_folder, digest_of
from infra.store.settings import Settings
from infra.suite.harness.definitions.catalog import Entry, Leaf, is_a_path
from infra.suite.harness.rows.files import folder_named_by, in_files, named_by
from infra.suite.sources import RowSource, refused

_NO_ROWS = (".py", ".lock")
_CACHED = "cache-*.arrow"
"""Names of the files that `datasets` leaves in a folder it has read from."""

_HUB_SECONDS = 5.0


@dataclass(frozen=True)
class Rows:
    """Where the rows of one dataset are."""

    dataset: str
    """Id that the tasks name."""

    folder: Path | None
    """Folder with the dataset's files; none if `datasets` fetches them from the hub itself."""

    digest: str | None
    """Identity of the rows: of the files, or the commit; none if the hub did not say."""

    origin: str
    """Where they are, for people."""

    elsewhere: bool = False
    """True if `evaluation.datasets` says so, not the task."""

    options: Mapping[str, Any] | None = None
    """`dataset_kwargs` of the task, with the absolute paths of its files; none if it names none."""


def find_rows(
    entries: Iterable[Entry], spec: EvaluationSpec, *, settings: Settings, progress: Progress
) -> dict[str, Rows]:
    """Return where the rows of every task are, by `Leaf.source`.

    Datasets that the spec takes from a hub are downloaded if need be.

    Raises:
        DatasetError: A folder is missing or empty, or a hub does not give a dataset.
    """
    leaves = {leaf.source: leaf for entry in entries for leaf in entry.leaves}
    return {
        source: _elsewhere(leaf.dataset, spec.datasets[leaf.dataset], settings, progress)
        if leaf.dataset in spec.datasets
        else _as_lm_eval_does(leaf)
        for source, leaf in leaves.items()
        if source and leaf.dataset
    }


def _elsewhere(dataset: str, spec: DatasetSpec, settings: Settings, progress: Progress) -> Rows:
    if spec.source == "local":
        return rows_in_folder(dataset, spec)
    from infra.models.weights import fetch_dataset

    try:
        folder = fetch_dataset(
            spec.source, spec.path, spec.revision, settings=settings, progress=progress
        )
    except WeightsError as error:
        raise refused(dataset, error) from error
    identity = f"{spec.source}:{spec.path}@{folder.name}"
    return Rows(dataset, folder, identity, identity, elsewhere=True)


def is_here(leaf: Leaf, given: Mapping[str, DatasetSpec]) -> bool:
    """Return whether the rows of a task are on this machine, in files that anybody may edit.

    Args:
        leaf: The task.
        given: `EvaluationSpec.datasets`.
    """
    dataset = leaf.dataset or ""
    if dataset in given:
        return given[dataset].source == "local"
    return bool(dataset) and (in_files(leaf) or is_a_path(dataset))


def row_source(leaf: Leaf, given: Mapping[str, DatasetSpec]) -> RowSource:
    """Return where the rows of a task come from.

    Args:
        leaf: A task that names a dataset.
        given: `EvaluationSpec.datasets`.
    """
    dataset = str(leaf.dataset)
    named = given.get(dataset)
    hub = None
    if not is_here(leaf, given):
        revision = str(leaf.options.get("revision", "main"))
        hub = named or DatasetSpec(path=dataset, source="huggingface", revision=revision)

    def find() -> str:
        rows = rows_in_folder(dataset, named) if named else rows_here(leaf)
        return rows.origin

    return RowSource(str(leaf.source), dataset, hub, named is not None, find)


def rows_in_folder(dataset: str, spec: DatasetSpec) -> Rows:
    """Return the rows of a dataset that lie in a folder here.

    Raises:
        DatasetError: There is no such folder, or it holds no files.
    """
    folder = Path(spec.path).expanduser().absolute()
    files = _content(folder) if folder.is_dir() else []
    if not any(file.name != "README.md" for file in files):
        raise DatasetError(
            f"The rows of {dataset} should be in {folder}, but "
            + ("it holds no files." if folder.is_dir() else "there is no such folder."),
            remedy=f"Correct evaluation.datasets[{dataset!r}].path, or remove the entry to "
            "read the rows from the hub.",
        )
    return Rows(dataset, folder, digest_files(files), str(folder), elsewhere=True)


def _content(folder: Path) -> list[FileDigest]:
    """Return what of a folder may be rows: no code, nothing that `datasets` left there.

    Raises:
        DatasetError: A file only stands for another.
    """
    files = [
        file
        for file in digest_folder(folder)
        if not file.name.endswith(_NO_ROWS) and not fnmatchcase(Path(file.name).name, _CACHED)
    ]
    for file in files:
        lfs.check(folder / file.name, DatasetError)
    return files


def _as_lm_eval_does(leaf: Leaf) -> Rows:
    dataset = str(leaf.dataset)
    if is_here(leaf, {}):
        return rows_here(leaf)
    commit = _commit(dataset, str(leaf.options.get("revision", "main")))
    return Rows(dataset, None, commit, f"huggingface:{dataset}" + (f"@{commit}" if commit else ""))


def rows_here(leaf: Leaf) -> Rows:
    """Return the rows of a task whose definition names files or a folder here.

    Raises:
        DatasetError: They are not there, or two files could be meant.
    """
    dataset = str(leaf.dataset)
    if in_files(leaf):
        named = named_by(leaf)
        return Rows(dataset, None, named.digest, _listed(named.files), options=named.options)
    folder = folder_named_by(leaf)
    content = _content(folder)
    # Files that the definition names itself may lie outside of the folder.
    return Rows(dataset, folder, _with_named(digest_files(content), leaf, folder), str(folder))


def _with_named(content: str, leaf: Leaf, folder: Path) -> str | None:
    names = list(_texts(leaf.options.get("data_files")))
    if any("://" in name for name in names):
        return None
    outside = [
        [name, digest_file(Path(path)).sha256]
        for name in names
        for path in sorted(glob.glob(str(folder / Path(name).expanduser()), recursive=True))  # noqa: PTH207
        if Path(path).is_file() and not Path(path).resolve().is_relative_to(folder.resolve())
    ]
    return digest_of([content, outside]) if outside else content


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(part)


def _listed(files: tuple[Path, ...]) -> str:
    if len(files) == 1:
        return str(files[0])
    return f"{len(files)} files, the first {files[0]}" if files else "as the task says"


@cache
def _commit(dataset: str, revision: str) -> str | None:
    """Return what the hub has under a revision now, so that all of a run reads the same."""
    from infra.models.hubs.hub import COMMIT, Repository, connect
    from infra.models.hubs.revisions import ask

    if COMMIT.fullmatch(revision):
        return revision
    try:
        repository = Repository("huggingface", "dataset", dataset)
        hub = connect("huggingface")
        return ask(hub, repository, revision, timeout=_HUB_SECONDS, attempts=1).commit
    except HubUnreachable:
        return None  # `datasets` may still have the rows
    except WeightsError as error:
        raise refused(dataset, error) from error
