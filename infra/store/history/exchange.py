"""Runs of other machines: each an object of its own in the shared store, and read by listing.

Nothing is ever appended to, so two machines cannot undo each other's entries. What somebody deleted
in a database stays deleted there, and stays with the others.
"""

from __future__ import annotations

import json
from pathlib import Path

from infra.contracts.errors import HistoryError
from infra.store.history import DATABASE, alone, append_rows, database
from infra.store.shared import Place

_FOLDER = "history"


def exchange(folder: Path, place: Place, *, newest: str = "") -> HistoryError | None:
    """Take the runs over that others have, and give them those that they lack.

    Args:
        folder: The folder that holds the runs.
        place: What machines share.
        newest: A run that is given even if it is there: it was repeated.

    Returns:
        Why `history.csv` does not have what came, if it could not be exported.

    Raises:
        HistoryError: What is here is not a history, or was damaged.
        Exception: Of the store's library.
    """
    theirs = {name.removesuffix(".json") for name in place.names(_FOLDER)}
    ever, ours = _runs(folder)
    not_exported = None
    for run in sorted(theirs - ever):
        text = place.read(_path(run))
        if text is None:
            continue
        try:
            found = json.loads(text)
            columns, rows = list(found["columns"]), [list(row) for row in found["rows"]]
        except (ValueError, LookupError, TypeError):
            continue  # damaged: it must not keep those that come after it away for ever
        not_exported = append_rows([run], columns, rows, folder)
    for run in sorted((ours - theirs) | ({newest} & ours)):
        with database.connected(folder / DATABASE) as connection:
            columns = list(database.columns_of(connection))
            rows = [list(row) for row in database.select(connection, columns, {"run_id": run})]
        place.put(_path(run), json.dumps({"columns": columns, "rows": rows}).encode())
    return not_exported


def _runs(folder: Path) -> tuple[set[str], set[str]]:
    """Return the runs that were ever in the history, and those that are."""
    if not (folder / DATABASE).is_file():
        return set(), set()
    with alone(folder), database.connected(folder / DATABASE) as connection:
        ours = {str(run) for (run,) in database.select(connection, ["run_id"], {})}
        return database.runs_of(connection), ours


def _path(run: str) -> str:
    return f"{_FOLDER}/{run}.json"
