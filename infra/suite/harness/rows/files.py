"""Rows that a definition itself says lie in files: which files these are, and what is in them.

A relative path is sought in the current folder, as lm-eval does, and else beside the definition,
where whoever wrote it most likely put them.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.contracts.errors import DatasetError
from infra.models import lfs
from infra.store.content import digest_file, digest_of
from infra.suite.harness.definitions.catalog import FORMATS, Leaf

_FORMAT_OF = {
    ".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".arrow": "arrow", ".txt": "text",
}  # fmt: skip
"""End of a file's name → format of its rows."""


@dataclass(frozen=True)
class RowFiles:
    """The files that a definition names."""

    options: Mapping[str, Any]
    """`dataset_kwargs` of the definition, every path absolute."""

    files: tuple[Path, ...]
    digest: str | None
    """Of their content; none if some of the rows are not on this machine."""


def named_by(leaf: Leaf) -> RowFiles:
    """Return the files that a definition names as its rows.

    Args:
        leaf: A task whose dataset is a file format.

    Raises:
        DatasetError: A file is missing, or two files could be meant.
    """
    found = _Found(leaf)
    options = dict(leaf.options)
    if data_dir := options.get("data_dir"):
        options["data_dir"] = found.folder(str(data_dir))
    if "data_files" in options:
        options["data_files"] = found.absolute(options["data_files"], options.get("data_dir"))
    elif data_dir and not found.remote:
        found.files += [path for path in Path(options["data_dir"]).rglob("*") if path.is_file()]
    elif not data_dir:
        raise DatasetError(
            f"{leaf.name} reads its rows as {leaf.dataset}, but does not say from which file.",
            remedy="Name it in the definition: `dataset_kwargs: {data_files: {test: rows.jsonl}}`.",
        )
    for path in found.files:
        lfs.check(path, DatasetError)
    content = [[path.name, digest_file(path).sha256] for path in dict.fromkeys(sorted(found.files))]
    return RowFiles(
        options=options,
        files=tuple(found.files),
        digest=None if found.remote else digest_of([leaf.dataset, _shape(leaf.options), content]),
    )


def folder_named_by(leaf: Leaf) -> Path:
    """Return the folder that a definition's `dataset_path` names.

    Raises:
        DatasetError: It is missing or a file, or two could be meant.
    """
    place = Path(_Found(leaf).folder(str(leaf.dataset)))
    if not place.is_dir():
        kind = _FORMAT_OF.get(place.suffix, "json")
        raise DatasetError(
            f"{leaf.name} names a file as its dataset_path, {place}.",
            cause="A dataset_path is a repository, a folder or the name of a format.",
            remedy=f"Write `dataset_path: {kind}` and "
            f"`dataset_kwargs: {{data_files: {{test: {leaf.dataset}}}}}` into the definition.",
        )
    return place


def in_files(leaf: Leaf) -> bool:
    """Return whether a definition names files of a format rather than a repository or a folder."""
    return leaf.dataset in FORMATS


class _Found:
    """What was found for one definition so far."""

    def __init__(self, leaf: Leaf) -> None:
        self._leaf = leaf
        self.files: list[Path] = []
        self.remote = False

    def absolute(self, named: Any, data_dir: str | None) -> Any:
        """Return `data_files` with every path absolute; note the files."""
        if isinstance(named, Mapping):
            return {split: self.absolute(one, data_dir) for split, one in named.items()}
        if isinstance(named, Sequence) and not isinstance(named, str):
            return [self.absolute(one, data_dir) for one in named]
        text = str(named)
        if "://" in text:
            self.remote = True
            return text
        base, matches = self._matches(text, [Path(data_dir)] if data_dir else None)
        if any(path.is_dir() for path in matches) and not any(path.is_file() for path in matches):
            raise DatasetError(
                f"{self._leaf.name} reads its rows from {text}, which is a folder.",
                remedy="Name the files in it: `data_files: {test: "
                f"{text.rstrip('/')}/*.{self._leaf.dataset}}}`, or the folder as `data_dir`.",
            )
        self.files += [path for path in matches if path.is_file()]
        return str(base / Path(text).expanduser())

    def folder(self, text: str) -> str:
        """Return a folder or file as an absolute path."""
        if "://" in text:
            self.remote = True
            return text
        base, _ = self._matches(text, None)
        return str(base / Path(text).expanduser())

    def _matches(self, text: str, bases: list[Path] | None) -> tuple[Path, list[Path]]:
        """Return where a path begins, and what it stands for."""
        places = bases or [Path.cwd(), *self._leaf.folders]
        hits = {
            place: found
            for place in dict.fromkeys(place.absolute() for place in places)
            if (found := self._expand(place, text))
        }
        if not hits:
            raise DatasetError(
                f"{self._leaf.name} reads its rows from {text}, but there is no such file.",
                cause=f"It was sought in {' and in '.join(map(str, dict.fromkeys(places)))}."
                if not Path(text).is_absolute()
                else "",
                remedy="Put it there, or name it in the definition by an absolute path.",
            )
        place, found = next(iter(hits.items()))
        for other, rivals in list(hits.items())[1:]:
            if _contents(rivals) != _contents(found):
                raise DatasetError(
                    f"{self._leaf.name} reads its rows from {text}, and two could be meant: in "
                    f"{place} and in {other}, with different content.",
                    cause="Paths are relative to the current folder, or else to the definition.",
                    remedy="Name the file by an absolute path, or move one of them away.",
                )
        return place, found

    @staticmethod
    def _expand(place: Path, text: str) -> list[Path]:
        pattern = str(place / Path(text).expanduser())
        if (plain := Path(pattern)).exists():
            return [plain]
        return [Path(path) for path in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207


def _contents(paths: Sequence[Path]) -> list[Any]:
    return [
        [file.relative_to(path.parent).as_posix(), digest_file(file).sha256]
        for path in paths
        for file in ([path] if path.is_file() else sorted(path.rglob("*")))
        if file.is_file()
    ]


def _shape(options: Mapping[str, Any]) -> Any:
    """Return all that the options say but where files lie."""

    def without_folders(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): without_folders(one) for key, one in value.items()}
        if isinstance(value, list):
            return [without_folders(one) for one in value]
        return Path(value).name if isinstance(value, str) else value

    return {
        key: without_folders(value) if key in ("data_files", "data_dir") else value
        for key, value in options.items()
    }
