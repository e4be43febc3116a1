"""`history.csv`: the runs in a table that anybody reads, and how one from elsewhere is understood.

Files of earlier versions are read with the names of today (see `columns`).
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Collection, Container, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from infra.contracts.errors import HistoryError
from infra.contracts.migration import FORMER_BASELINE
from infra.contracts.specs import BASELINE
from infra.store.content import replacing
from infra.store.history.columns import (
    COLUMNS,
    FORMER_COLUMNS,
    PLACE,
    Cell,
    parser_of,
)

_SPELLINGS = {name.casefold(): name for name in (*COLUMNS, *FORMER_COLUMNS)} | {PLACE: ""}
"""Column in small letters → the one way to spell it; none for what the database has for itself."""


class Runs(NamedTuple):
    """Rows of some runs."""

    ids: Collection[str] = ()
    columns: Sequence[str] = ("run_id",)
    rows: Sequence[Sequence[Cell]] = ()
    """In the order of the file."""


def runs_in(path: Path, *, but: Container[str] = ()) -> Runs:
    """Return the runs of a file, with the names of today. A missing or empty file has none.

    Args:
        path: The file.
        but: Runs to leave out. Their rows have to be whole, their cells are not looked at.

    Raises:
        HistoryError: It is not a history, or was damaged.
    """
    if not path.is_file() or path.stat().st_size == 0:
        return Runs()
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return _read(path, stream, but)
    except (ValueError, csv.Error) as error:  # not UTF-8; a cell without end
        raise HistoryError(
            f"{path} cannot be read as a history of runs: {error!s:.200}",
            cause="The file was edited or cut.",
            remedy="Repair it or move it away; each run's own report is complete.",
        ) from error


def _columns(path: Path, header: Sequence[str]) -> list[str]:
    spellings = [name.casefold() for name in header]
    # A database takes names that differ in capitals for one.
    misspelt = [name for name in header if _SPELLINGS.get(name.casefold(), name) != name]
    if "run_id" not in header or misspelt or len(set(spellings)) < len(spellings):
        raise HistoryError(
            f"{path} is not a history of runs: its columns are {', '.join(header)[:200]}.",
            remedy="Move that file away, or set results.folder to another folder.",
        )
    return [FORMER_COLUMNS.get(name, name) for name in header]


def _read(path: Path, stream: TextIO, but: Container[str]) -> Runs:
    reader = csv.reader(stream)
    columns = _columns(path, next(reader, []))
    run_at = columns.index("run_id")
    parsers = [(at, parse) for at, name in enumerate(columns) if (parse := parser_of(name))]
    rows = []
    for texts in reader:
        if len(texts) != len(columns):
            raise _damaged(
                f"has {len(texts)} cells, the table has {len(columns)} columns",
                path, reader.line_num,
            )  # fmt: skip
        if not texts[run_at]:
            raise _damaged("names no run", path, reader.line_num)
        if texts[run_at] in but:
            continue
        cells: list[Cell] = [text or None for text in texts]
        try:
            for at, parse in parsers:
                if text := texts[at]:
                    cells[at] = parse(text)
        except ValueError as error:
            raise _damaged(f"cannot be read: {error}", path, reader.line_num) from error
        rows.append(cells)
    _join_columns(columns, rows)
    _name_baselines(columns, rows)
    return Runs(dict.fromkeys(str(cells[run_at]) for cells in rows), columns, rows)


def _join_columns(columns: list[str], rows: Sequence[list[Cell]]) -> None:
    """Join columns that are there by both their names, each with the rows of one version."""
    for name in {name for name in columns if columns.count(name) > 1}:
        first, second = (at for at, other in enumerate(columns) if other == name)
        del columns[second]
        for cells in rows:
            cell = cells.pop(second)
            cells[first] = cell if cells[first] is None else cells[first]


def _name_baselines(columns: Sequence[str], rows: Sequence[list[Cell]]) -> None:
    """Give the baseline of earlier versions' runs its name of today."""
    if "arm" not in columns:
        return
    arm, run = columns.index("arm"), columns.index("run_id")
    # A run of this version may have a candidate of that name.
    named = {cells[run] for cells in rows if cells[arm] == BASELINE}
    for cells in rows:
        if cells[arm] == FORMER_BASELINE and cells[run] not in named:
            cells[arm] = BASELINE


def _damaged(what: str, path: Path, line: int) -> HistoryError:
    return HistoryError(
        f"Line {line} of {path} {what}.",
        cause="The file was edited or cut.",
        remedy="Repair or remove that line; the run's own report is complete.",
    )


def write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Write a file anew; a reader sees the old one or the new one."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        stream.write(_line(columns))
        csv.writer(stream, lineterminator="\n").writerows(rows)


def extend(path: Path, rows: Iterable[Sequence[Cell]]) -> None:
    """Add rows to a file; a reader sees the old one or the new one."""
    with replacing(path) as partial:
        shutil.copyfile(path, partial)
        with partial.open("a", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows(rows)


def starts_with(path: Path, columns: Sequence[str]) -> bool:
    """Return whether a file has these columns and no other."""
    expected = _line(columns)
    with path.open(encoding="utf-8", newline="") as stream:
        return stream.read(len(expected)) == expected


def _line(columns: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(columns)
    return text.getvalue()
