"""Rows of a file, whatever it is kept in: recognized by its content, not by its suffix.

JSON in every layout, Parquet, Arrow and CSV are read, compressed or not; Arrow and Parquet a batch
at a time. What is something else is called by its name, with a command that makes it readable.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from typing import Any, NoReturn

from infra.contracts.errors import AssayError
from infra.conversations.reading.containers import Foreign, Kind, kind_of, open_text
from infra.conversations.reading.json_values import NotJson, begins_as_json, check_decoded, rows
from infra.models import lfs

_BATCH = 256
_LONGEST_CELL = 1 << 27
_SEPARATORS = "\t;,|"
_JSON = {".jsonl", ".ndjson", ".json"}
_CSV = {".csv", ".tsv"}
_NAME = re.compile(r"\w{1,40}")


@dataclass(frozen=True)
class Wanted:
    """Who asks for rows, and how to tell them what is wrong."""

    field: str
    """Field of the spec that names the file."""

    called: str
    """The file, for people, before its path."""

    error: type[AssayError]
    """What is raised."""

    example: str
    """One row, as it should be."""

    columns: frozenset[str]
    """Columns by which a table is recognised as one."""

    is_part: Callable[[Any], bool] = lambda _: False
    """Tells an element by which a list is one row."""


def is_rows(path: Path, wanted: Wanted) -> bool:
    """Return whether a file holds rows, and not just text.

    Raises:
        AssayError: It cannot be read; see `Wanted.error`.
    """
    with _explained(path, wanted):
        kind = _kind(path, wanted)
        if kind is not Kind.TEXT or _JSON & set(path.suffixes):
            return True
        with open_text(path) as text:
            if begins_as_json(text):
                return True
        return _separator(path, wanted) is not None


def read_rows(path: Path, wanted: Wanted) -> Iterator[tuple[str, Any]]:
    """Yield the rows of a file, each with its place: `Line 3 of calibration.jsonl`.

    Raises:
        AssayError: It cannot be read, or is none; see `Wanted.error`.
    """
    with _explained(path, wanted):
        kind = _kind(path, wanted)
        if kind is Kind.TEXT:
            separator = _separator(path, wanted)
            yield from _of_json(path, wanted) if separator is None else _of_csv(path, separator)
            return
        batches = _parquet(path) if kind is Kind.PARQUET else _arrow(path, kind)
        number = 0
        for batch in batches:
            for row in batch.to_pylist():
                yield f"Row {number} of {path}", without_nulls(row)
                number += 1


def paragraphs(path: Path, wanted: Wanted) -> Iterator[str]:
    """Yield the paragraphs of a text file: what stands between blank lines.

    Raises:
        AssayError: It cannot be read; see `Wanted.error`.
    """
    lines = list[str]()
    with _explained(path, wanted), open_text(path) as text:
        for number, line in enumerate(text, 1):
            check_decoded(line, number)
            if line.strip():
                lines.append(line.rstrip("\n"))
            elif lines:
                yield "\n".join(lines)
                lines = []
    if lines:
        yield "\n".join(lines)


def without_nulls(value: Any) -> Any:
    """Return a row without the fields that a table has to fill in where a row has none."""
    if isinstance(value, dict):
        return {key: without_nulls(part) for key, part in value.items() if part is not None}
    return [without_nulls(part) for part in value] if isinstance(value, list) else value


@contextmanager
def _explained(path: Path, wanted: Wanted) -> Iterator[None]:
    """Say what a file is, and what to do about it, instead of how a library failed."""

    def refuse(fact: str, cause: str, remedy: str) -> NoReturn:
        raise wanted.error(fact, cause=cause, remedy=remedy)

    whole = f"Copy or download {path} again."
    try:
        yield
    except NotJson as found:
        refuse(
            f"Line {found.line} of {path} {found.why}.",
            "",
            _reencode(path)
            if found.undecoded
            else f"Mend or remove it. A row is {wanted.example}.",
        )
    except Foreign as found:
        refuse(f"{path} {found.what}.", found.cause, found.remedy or whole)
    except _broken() as found:
        refuse(f"{path} is damaged or cut off: {_first_line(found)}.", "", whole)
    except UnicodeDecodeError as found:
        refuse(f"{path} is not text in {found.encoding}: {found.reason}.", "", whole)
    except csv.Error as found:
        refuse(f"{path} is no CSV that can be read: {found}.", "", whole)
    except OSError as found:
        if found.errno is None:  # of a library, about the content
            refuse(f"{path} is damaged or cut off: {_first_line(found)}.", "", whole)
        cause = f"The path is relative to {Path.cwd()}." if not path.is_absolute() else ""
        refuse(
            f"{wanted.called} {path} cannot be read: {found.strerror}.",
            cause,
            f"Set {wanted.field} to a file of rows such as {wanted.example}.",
        )


def _kind(path: Path, wanted: Wanted) -> Kind:
    if path.is_dir():
        raise _folder(path, wanted)
    lfs.check(path, wanted.error)
    return kind_of(path)


def _folder(path: Path, wanted: Wanted) -> Foreign:
    """Return what to say of a folder: a dataset that was saved, or one with files in it."""
    what = "is a folder (Is a directory), not a file"
    if (path / "dataset_info.json").exists() or (path / "dataset_dict.json").exists():
        target = re.sub(r"[^\w.-]+", "-", path.resolve().name) + ".jsonl"
        source = f"datasets.load_from_disk({json.dumps(str(path))}){_first_split(path)}"
        code = f"import datasets; {source}.to_json({json.dumps(target)})"
        return Foreign(
            f"{what}: `save_to_disk` of datasets wrote it",
            remedy=f"Convert it: `{shlex.quote(sys.executable)} -c {shlex.quote(code)}`, and set "
            f"{wanted.field}={target}.",
        )
    inside = sorted(one.name for one in path.iterdir() if one.is_file() and one.name[0] != ".")
    named = f" It holds {', '.join(inside[:5])}{' …' if inside[5:] else ''}." if inside else ""
    return Foreign(what, remedy=f"Set {wanted.field} to a file in it.{named}")


def _first_split(path: Path) -> str:
    try:
        splits = json.loads((path / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
    except (OSError, ValueError, LookupError):
        return ""
    return f"[{json.dumps(splits[0])}]" if splits else ""


def _of_json(path: Path, wanted: Wanted) -> Iterator[tuple[str, Any]]:
    with open_text(path) as text:
        for line, number, row in rows(text, wanted.is_part):
            if number is None:
                yield f"Line {line} of {path}", row
            else:
                yield f"Row {number} (line {line}) of {path}", row


def _separator(path: Path, wanted: Wanted) -> str | None:
    """Return what separates the cells of a table in text; none if it is no table."""
    with open_text(path) as text:
        if begins_as_json(text):
            return None
    with open_text(path) as text:
        head = text.readline(1 << 16)
    called = bool(_CSV & set(path.suffixes))
    for separator in _SEPARATORS:
        names = {name.strip() for name in next(csv.reader([head], delimiter=separator), [])}
        alike = len(names) > 1 and all(map(_NAME.fullmatch, names))
        if names & wanted.columns and (called or alike):
            return separator
    if called:
        raise Foreign(
            f"is CSV, and no column of its first line is known: {head.strip()[:80]!r}",
            remedy=f"Name the columns there as in {wanted.example}.",
        )
    return None


def _of_csv(path: Path, separator: str) -> Iterator[tuple[str, Any]]:
    csv.field_size_limit(_LONGEST_CELL)
    with open_text(path, newline="") as text:
        found = csv.DictReader(text, delimiter=separator, skipinitialspace=True)
        for row in found:
            place = f"Line {found.line_num} of {path}"
            if None in row:
                raise Foreign(
                    f"has more cells in line {found.line_num} than names in its first line",
                    remedy='Put cells with a separator in them into "…".',
                )
            for cell in row.values():
                check_decoded(cell or "", found.line_num)
            yield place, {key.strip(): cell for key, cell in row.items() if cell}


def _parquet(path: Path) -> Iterator[Any]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=_BATCH)


def _arrow(path: Path, kind: Kind) -> Iterator[Any]:
    import pyarrow

    with pyarrow.memory_map(str(path)) as source:
        if kind is Kind.ARROW_STREAM:
            yield from pyarrow.ipc.open_stream(source)
        else:
            file = pyarrow.ipc.open_file(source)
            yield from map(file.get_batch, range(file.num_record_batches))


def _reencode(path: Path) -> str:
    target = f"{path.stem}.utf8{path.suffix}"
    return (
        "Mend it, or convert the file from the encoding it has, for instance: "
        f"`iconv -f WINDOWS-1252 -t UTF-8 {shlex.quote(str(path))} > {shlex.quote(target)}`."
    )


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _broken() -> tuple[type[Exception], ...]:
    """Return what libraries raise at a broken file; pyarrow is imported where one is."""
    import pyarrow

    return pyarrow.ArrowException, EOFError, LZMAError, zlib.error
