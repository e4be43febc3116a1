"""Reads a file of rows: JSON lines, CSV with a header, or parquet."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from datetime import date, time
from pathlib import Path
from typing import Any, TypeAlias

from infra.contracts.errors import DatasetError
from infra.models import lfs

Cells: TypeAlias = dict[str, Any]
"""One row: column → what stands there; a column without a value is not in it."""

ENDS = (".jsonl", ".csv", ".parquet")

_LONGEST_CELL = 2**31 - 1
"""Letters: whole documents stand in one, which Python's own limit is too low for."""
_MARKS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def read(path: Path) -> list[tuple[str, Cells]]:
    """Return every row with the words for where it stands: "line 3", "row 3".

    Args:
        path: The file; the end of its name says what it is.

    Raises:
        DatasetError: It is not there, empty, no such file, or a line of it is no row.
    """
    if not path.is_file():
        raise DatasetError(
            f"{path} is {'a folder' if path.is_dir() else 'not there'}.",
            cause="A task of your own is a file of rows.",
            remedy=f"Name a {', '.join(ENDS[:-1])} or {ENDS[-1]} file.",
        )
    if path.suffix not in ENDS:
        raise DatasetError(
            f"{path.name} ends in {path.suffix or 'nothing'}; rows are read from "
            f"{', '.join(ENDS)}.",
            remedy="Write JSON lines: one object a line, and name the file *.jsonl.",
        )
    lfs.check(path, DatasetError)
    reader = {".jsonl": _json_lines, ".csv": _csv, ".parquet": _parquet}[path.suffix]
    try:
        rows = [
            (
                place,
                {whole(name): whole(value) for name, value in cells.items() if value is not None},
            )
            for place, cells in reader(path)
        ]
    except RecursionError as error:
        raise DatasetError(
            f"{path.name} has a row with lists in lists without end.",
            remedy="Write what is in them as a text.",
        ) from error
    except UnicodeDecodeError as error:
        found = error.object[error.start]
        # Of UTF-16 with its mark, the first byte is none of UTF-8.
        written = "UTF-16" if error.start == 0 and found in (0xFE, 0xFF) else "WINDOWS-1252"
        raise DatasetError(
            f"{path.name} is no UTF-8: byte {error.start} is {found:#04x}.",
            remedy=f"Convert it: `iconv -f {written} -t UTF-8 {path.name} > utf8-{path.name}`.",
        ) from error
    if not rows:
        raise DatasetError(f"{path.name} holds no rows.", remedy="Give it some, or leave it out.")
    return rows


def whole(value: Any) -> Any:
    """Return a value whose texts are Unicode: half a character, which JSON can write, is none."""
    if isinstance(value, str):
        if value.isascii():
            return value
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [whole(one) for one in value]
    if isinstance(value, dict):
        return {whole(name): whole(one) for name, one in value.items()}
    return value


def _json_lines(path: Path) -> Iterator[tuple[str, Cells]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                cells = json.loads(line, object_pairs_hook=_once)
            except ValueError as error:
                at = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
                raise DatasetError(
                    f"Line {number} of {path.name} is no JSON: {getattr(error, 'msg', error)}{at}.",
                    remedy="Write each row as one JSON object on a line of its own.",
                ) from error
            if not isinstance(cells, dict):
                raise DatasetError(
                    f"Line {number} of {path.name} is {_named(cells)}, not an object.",
                    remedy='Write each row with its columns\' names: {"question": "…", …}.',
                )
            yield f"line {number}", cells


def _csv(path: Path) -> Iterator[tuple[str, Cells]]:
    csv.field_size_limit(_LONGEST_CELL)
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, strict=True)
        try:
            header = next(reader, [])
            if len(header) == 1 and (mark := next((one for one in ";\t|" if one in header[0]), "")):
                raise DatasetError(
                    f"{path.name} has one column, called {header[0]!r:.120}.",
                    cause=f"Its cells are parted by {_MARKS[mark]}, those of a CSV by commas.",
                    remedy="Save it with commas, or write JSON lines.",
                )
            if twice := sorted({name for name in header if name and header.count(name) > 1}):
                raise DatasetError(
                    f"{path.name} has two columns called {twice[0]!r}.",
                    remedy="Rename one of them, or take it out.",
                )
            for number, cells in enumerate(reader, 1):
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    raise DatasetError(
                        f"Row {number} of {path.name} has {len(cells)} cells; its header has "
                        f"{len(header)}.",
                        cause="A cell with a comma, a quote or a line break has to be quoted.",
                        remedy="Quote it, or write JSON lines.",
                    )
                # An empty cell of a CSV is no value: nothing else could say that there is none.
                found = zip(header, cells, strict=True)
                yield f"row {number}", {name: cell for name, cell in found if name and cell}
        except csv.Error as error:
            raise DatasetError(
                f"Line {reader.line_num} of {path.name} is no CSV: {error}.",
                remedy="Mend its quotes, or write JSON lines.",
            ) from error


def _parquet(path: Path) -> Iterator[tuple[str, Cells]]:
    import pyarrow
    import pyarrow.parquet

    try:
        # Of a folder called `lang=de`, whoever reads a data set would make a column.
        table = pyarrow.parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, OSError) as error:
        raise DatasetError(
            f"{path.name} cannot be read as parquet: {str(error).splitlines()[0]}",
            remedy="Write it again, or write JSON lines.",
        ) from error
    if twice := sorted({name for name in table.column_names if table.column_names.count(name) > 1}):
        raise DatasetError(
            f"{path.name} has two columns called {twice[0]!r}.",
            remedy="Rename one of them, or take it out.",
        )
    for number, cells in enumerate(table.to_pylist(), 1):
        yield f"row {number}", {name: _plain(value) for name, value in cells.items()}


def _plain(value: Any) -> Any:
    """Return a value of parquet as JSON has it: a time as a text, a value that is missing as none.

    Objects of a column have all their names in every row; where nothing was, there is none.
    """
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        found = {str(name): _plain(one) for name, one in value.items()}
        return {name: one for name, one in found.items() if one is not None}
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="backslashreplace")
    if isinstance(value, date | time):
        return value.isoformat()
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"{twice!r} stands there twice in one object")
    return found


def _named(value: Any) -> str:
    return {list: "a list", str: "a text", bool: "a truth value"}.get(type(value), "a number")
