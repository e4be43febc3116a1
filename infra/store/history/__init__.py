"""Every run, one row per arm, task and metric: `history.sqlite` in the runs folder.

The database is what counts. `history.csv` beside it is an export for everybody who reads tables:
it is written after each run, and what somebody changes in it is overwritten. Runs that it has and
the database has not are taken over: those of a folder of another machine that was merged into this
one, those of a version that had no database, all of them where the database was lost. A run that
somebody deleted in the database stays deleted.

columns    what a row holds
database   the runs
csv_file   the table
frames     the same for pandas
exchange   the runs of other machines

Who changes either file holds one lock; versions without a database held it too. Reading takes none,
and changes nothing: what is not taken over yet is read beside the database.
"""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from infra.contracts.commands import PYTHON
from infra.contracts.errors import HistoryError
from infra.store.history import csv_file, database
from infra.store.history.columns import COLUMNS, Cell, as_cell
from infra.store.history.frames import frame, with_run

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "DATABASE",
    "NAME",
    "alone",
    "append",
    "append_rows",
    "exists",
    "had",
    "opened",
    "read",
    "take_over",
    "with_run",
]

DATABASE = "history.sqlite"
NAME = "history.csv"


def append(
    run_id: str, rows_of_run: Iterable[Mapping[str, object]], folder: Path
) -> HistoryError | None:
    """Add a run to the history of a folder, and export it.

    Args:
        run_id: Of the run; rows that it has there are replaced.
        rows_of_run: Column → cell; see `COLUMNS`.
        folder: The folder that holds the runs.

    Returns:
        Why `history.csv` does not have the run, if it could not be exported. The run is in the
        history, and the next export has it.

    Raises:
        HistoryError: What is there is not a history, or was damaged. It is left as it is.
    """
    named = [{**row, "run_id": run_id} for row in rows_of_run]
    columns = list(dict.fromkeys(name for row in named for name in row))
    rows = [[as_cell(row.get(name)) for name in columns] for row in named]
    return append_rows([run_id], columns, rows, folder)


def append_rows(
    runs: Iterable[str], columns: Sequence[str], rows: Iterable[Sequence[Cell]], folder: Path
) -> HistoryError | None:
    """Add runs by their rows as the database has them; see `append`."""
    with alone(folder):
        damaged = _take_over(folder)
        with database.changing(folder / DATABASE) as connection:
            database.add(connection, runs, columns, rows)
        return damaged or _exported(folder)


def take_over(folder: Path) -> HistoryError | None:
    """Take over the runs that the table has and the database has not, and export all.

    Returns:
        Why `history.csv` is not what the database has, if it could not be exported.

    Raises:
        HistoryError: What is there is not a history, or was damaged. It is left as it is.
    """
    with alone(folder):
        return _take_over(folder) or _exported(folder)


def exists(folder: Path) -> bool:
    """Return whether a folder has a history."""
    return any((folder / name).is_file() for name in (DATABASE, NAME))


def had(run_id: str, folder: Path) -> bool:
    """Return whether a run was ever in the history of a folder.

    Raises:
        HistoryError: As of `opened`.
    """
    with opened(folder) as connection:
        return run_id in database.runs_of(connection)


def read(folder: Path, columns: Sequence[str] | None = None, **where: str) -> pd.DataFrame:
    """Return the rows of a folder's history, every column with its type.

    Columns this version does not know are texts. A history that is missing is an empty table.

    Args:
        folder: The folder that holds the runs.
        columns: Only these.
        where: Column → the text that it holds.

    Raises:
        HistoryError: What is there is not a history, or was damaged.
    """
    with opened(folder) as connection:
        names = columns or list(database.columns_of(connection))
        rows = database.select(connection, names, where)
    try:
        return frame(names, rows)
    except (TypeError, ValueError) as error:
        raise HistoryError(
            f"{folder / DATABASE} cannot be read as a history of runs: {error!s:.200}",
            cause="A cell was edited.",
            remedy="Set that cell to NULL; the run's own report is complete.",
        ) from error


@contextmanager
def opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open a folder's history for reading: its table is `history`, with all of `COLUMNS`.

    Raises:
        HistoryError: What is there is not a history, or was damaged. Also for what is read in the
            block.
    """
    path = folder / DATABASE
    if not path.is_file():
        with database.in_memory() as memory:
            database.add(memory, *csv_file.runs_in(folder / NAME))
            yield memory
        return
    with database.connected(path) as connection:
        try:
            missing = _missing(connection, folder)
        except HistoryError:
            if not database.runs_of(connection):
                raise
            missing = csv_file.Runs()  # the database is what counts
        if not missing.rows and database.columns_of(connection).keys() >= COLUMNS.keys():
            yield connection
            return
        with database.in_memory(connection) as memory:
            database.add(memory, *missing)
            yield memory


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process at a time change a folder's history."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{NAME}.lock"):
        yield


def _take_over(folder: Path) -> HistoryError | None:
    """Add the runs that the table alone has; return why it cannot be read, where none is lost.

    Raises:
        HistoryError: The table cannot be read, and the database has no run yet.
    """
    path = folder / DATABASE
    if path.is_file():
        with database.connected(path) as connection:
            try:
                missing = _missing(connection, folder)
            except HistoryError as error:
                if not database.runs_of(connection):
                    raise
                return error
    else:
        missing = csv_file.runs_in(folder / NAME)
    if missing.rows:
        with database.changing(path) as connection:
            database.add(connection, *missing)
    return None


def _missing(connection: sqlite3.Connection, folder: Path) -> csv_file.Runs:
    """Return the runs that the table alone has."""
    if _is_as_exported(connection, folder):
        return csv_file.Runs()
    return csv_file.runs_in(folder / NAME, but=database.runs_of(connection))


def _is_as_exported(connection: sqlite3.Connection, folder: Path) -> bool:
    try:
        found = (folder / NAME).stat()
    except OSError:
        return False
    export = database.export_of(connection)
    return (found.st_size, found.st_mtime_ns) == (export.size, export.mtime_ns)


def _exported(folder: Path) -> HistoryError | None:
    """Write the table, and return why it could not be written."""
    path = folder / NAME
    try:
        with database.connected(folder / DATABASE) as connection:
            last = database.last_row(connection)
            columns = list(database.columns_of(connection))
            there = 0
            if _is_as_exported(connection, folder) and csv_file.starts_with(path, columns):
                there = database.export_of(connection).last_row
            if there and there == last:
                return None
            rows = database.as_texts(connection, after=there)
            if there:
                csv_file.extend(path, rows)
            else:
                csv_file.write(path, columns, rows)
        found = path.stat()
        export = database.Export(last, found.st_size, found.st_mtime_ns)
        with database.changing(folder / DATABASE) as connection:
            database.set_export(connection, export)
    except OSError as error:
        return HistoryError(
            f"{path} cannot be written: {error.strerror or error}.",
            cause="The folder is full, or something else has that name.",
            remedy=f"Make room for it, and the next run writes it, or "
            f"`{PYTHON} -m deployments history {shlex.quote(str(folder))}`; no run is lost.",
        )
    except HistoryError as error:
        return error
    return None
