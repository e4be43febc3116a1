"""`history.sqlite`: the runs themselves, of which `history.csv` is an export.

    history   one row per run, arm, task and metric; see `columns`
    runs      every run that was ever in `history`, so that one which somebody deleted there does
              not come back from a CSV file
    export    up to which row the CSV file has them, and what that file is like

The journal is rolled back (SQLite's own default), not written ahead: the shared memory which
a write-ahead log takes exists within one machine only, and a folder of runs may lie on a network.
Whoever is killed leaves a journal, and the next one that opens the database takes back what was
half done. Columns are added where they are missing, and none is ever dropped.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from infra.contracts.errors import HistoryError
from infra.store.history.columns import COLUMNS, PLACE, Cell

_WAIT_SECONDS = 60
"""For whoever writes at the moment."""

_TYPES = {
    "string": "TEXT", "datetime": "TEXT", "Int64": "INTEGER", "Float64": "REAL",
    "boolean": "BOOLEAN",
}  # fmt: skip

_SCHEMA = (
    "CREATE TABLE history (history_row INTEGER PRIMARY KEY, run_id TEXT NOT NULL)",
    "CREATE TABLE runs (run_id TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE export "
    "(last_row INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL)",
    "INSERT INTO export VALUES (0, 0, 0)",
    "CREATE INDEX rows_of_run ON history (run_id)",
    # Whoever changes rows that the CSV file has, also by hand, lets it be written anew.
    "CREATE TRIGGER row_deleted AFTER DELETE ON history BEGIN UPDATE export SET last_row = 0; END",
    "CREATE TRIGGER row_updated AFTER UPDATE ON history BEGIN UPDATE export SET last_row = 0; END",
)

_INDEX = "CREATE INDEX IF NOT EXISTS rows_of_kind ON history (label, model, task, created)"


class Export(NamedTuple):
    """The CSV file as it was left."""

    last_row: int
    """Rows up to this one are in it as they are here; 0 if one of them is other than it was."""

    size: int
    mtime_ns: int


@contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database that is there, to read it as it is now.

    Raises:
        HistoryError: It cannot be read. Also for what is read in the block.
    """
    # Where somebody died while writing, also a reader has to roll back first: not `mode=ro`.
    with _opened(path, "rw") as connection:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")
        yield connection


@contextmanager
def changing(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database, made if need be, to change it: all that is done in the block, or nothing.

    Raises:
        HistoryError: It cannot be read or written.
    """
    with _opened(path, "rwc") as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute("BEGIN IMMEDIATE")
        try:
            prepare(connection)
            yield connection
        except BaseException:
            if connection.in_transaction:  # a full disk ends it by itself
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


@contextmanager
def in_memory(source: sqlite3.Connection | None = None) -> Iterator[sqlite3.Connection]:
    """Open a copy of a database, or an empty one, that is gone afterwards."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        if source is not None:
            source.backup(connection)
        prepare(connection)
        yield connection


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    try:
        with closing(
            sqlite3.connect(uri, uri=True, timeout=_WAIT_SECONDS, isolation_level=None)
        ) as connection:
            _check(connection, path)
            yield connection
    except sqlite3.OperationalError as error:
        raise HistoryError(
            f"{path} cannot be used: {error}.",
            cause="The folder is not writable or full, or another process holds the file.",
            remedy="Look at the folder's permissions, its room, and who has the file open.",
        ) from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:
            raise  # the query is wrong, not the file
        raise _no_history(path, str(error)) from error


def _check(connection: sqlite3.Connection, path: Path) -> None:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if tables and not tables >= {"history", "runs", "export"}:
        raise _no_history(path, f"its tables are {', '.join(sorted(tables)):.200}")


def _no_history(path: Path, why: str) -> HistoryError:
    return HistoryError(
        f"{path} is not a history of runs: {why}.",
        cause="The file was damaged, or is of another program.",
        remedy="Move that file away: history.csv beside it has the runs too, and is read then.",
    )


def prepare(connection: sqlite3.Connection) -> None:
    """Make what a database lacks of what this version uses."""
    if not columns_of(connection):
        for statement in _SCHEMA:
            connection.execute(statement)
    add_columns(connection, COLUMNS)
    connection.execute(_INDEX)


def add_columns(connection: sqlite3.Connection, columns: Iterable[str]) -> None:
    """Add those columns that are missing."""
    present = columns_of(connection)
    for column in columns:
        if column not in present:
            kind = _TYPES[COLUMNS[column]] if column in COLUMNS else ""
            connection.execute(f"ALTER TABLE history ADD COLUMN {_quoted(column)} {kind}")


def columns_of(connection: sqlite3.Connection) -> dict[str, str]:
    """Return column → declared type, in their order; nothing if there is no history yet."""
    found = connection.execute("SELECT name, type FROM pragma_table_info('history')")
    return {name: kind for name, kind in found if name != PLACE}


def runs_of(connection: sqlite3.Connection) -> set[str]:
    """Return every run that was ever in the history."""
    if not columns_of(connection):
        return set()
    return {run for (run,) in connection.execute("SELECT run_id FROM runs")}


def add(
    connection: sqlite3.Connection,
    runs: Iterable[str],
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell]],
) -> None:
    """Add runs; rows that they have there are replaced.

    Args:
        connection: The database.
        runs: The runs.
        columns: Columns of their rows.
        rows: All their rows.
    """
    add_columns(connection, columns)
    for run in runs:
        connection.execute("DELETE FROM history WHERE run_id = ?", [run])
        connection.execute("INSERT OR IGNORE INTO runs VALUES (?)", [run])
    names = ", ".join(map(_quoted, columns))
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO history ({names}) VALUES ({marks})"  # noqa: S608
    connection.executemany(statement, rows)


def export_of(connection: sqlite3.Connection) -> Export:
    """Return how the CSV file was left."""
    if not columns_of(connection):
        return Export(0, 0, 0)
    return Export(*connection.execute("SELECT last_row, size, mtime_ns FROM export").fetchone())


def set_export(connection: sqlite3.Connection, export: Export) -> None:
    """Keep how the CSV file was left."""
    connection.execute("UPDATE export SET last_row = ?, size = ?, mtime_ns = ?", export)


def last_row(connection: sqlite3.Connection) -> int:
    """Return the number of the last row, 0 if there is none."""
    (last,) = connection.execute("SELECT coalesce(max(history_row), 0) FROM history").fetchone()
    return int(last)


def as_texts(connection: sqlite3.Connection, *, after: int = 0) -> Iterator[Sequence[Cell]]:
    """Return the rows for a CSV file, in their order: truths are `True` and `False`.

    Args:
        connection: The database.
        after: Only rows after the one with this number.
    """
    cells = ", ".join(
        f"CASE {_quoted(name)} WHEN 1 THEN 'True' WHEN 0 THEN 'False' END"
        if kind == "BOOLEAN" else _quoted(name)
        for name, kind in columns_of(connection).items()
    )  # fmt: skip
    statement = f"SELECT {cells} FROM history WHERE history_row > ? ORDER BY history_row"  # noqa: S608
    return connection.execute(statement, [after])


def select(
    connection: sqlite3.Connection, columns: Iterable[str], where: Mapping[str, str]
) -> list[Sequence[Cell]]:
    """Return cells of rows in their order.

    Args:
        connection: The database.
        columns: Columns that it has.
        where: Column → the text that it holds.
    """
    names = ", ".join(map(_quoted, columns))
    clause = " AND ".join(["true", *(f"{_quoted(column)} = ?" for column in where)])
    statement = f"SELECT {names} FROM history WHERE {clause} ORDER BY history_row"  # noqa: S608
    return connection.execute(statement, [*where.values()]).fetchall()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
