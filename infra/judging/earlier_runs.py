"""What earlier runs of a kind tell about the next one: how many rows flip.

Read from the history without pandas, since the preflight must be quick, and only the rows that are
counted. What cannot be read tells nothing: the history itself says what is wrong with it when a run
is added.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.contracts.errors import HistoryError
from infra.contracts.specs import BASELINE, CandidateSpec, EndpointSpec
from infra.store import history
from infra.store.content import digest_of

_RUNS = 10
"""Newest measurements of a task that are counted."""

_FEWEST = 20
"""Rows of a measurement below which it is a trial."""


@dataclass(frozen=True)
class Flips:
    """Rows of one task in earlier runs."""

    rows: int
    flipped: int
    """Of these, right in one arm alone."""


@dataclass(frozen=True)
class Earlier:
    """What earlier runs tell; nothing if there was none."""

    flips: Mapping[str, Flips] = field(default_factory=dict)
    """Task → its rows; without tasks that no earlier run had."""

    runs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Task → the runs whose rows are counted, newest first."""


_ADDED = ("adapter",)
_ADDED_TO_SERVING = ("engine", "yarn_factor", "tool_parser")
"""Fields of a candidate that runs of earlier versions did not have."""


def recipe_of(change: CandidateSpec) -> str:
    """Return what tells one change from another: its recipe, if it is nothing else."""
    if change.quantization and not (change.model or change.adapter or change.serving):
        return digest_of(change.quantization.model_dump(mode="json"))
    fields = change.model_dump(mode="json", exclude={"name", "against"})
    for parent, added in ((fields, _ADDED), (fields["serving"] or {}, _ADDED_TO_SERVING)):
        for name in added:
            if parent.get(name) is None:  # a change of before is still the same change
                parent.pop(name, None)
    return digest_of(fields)


def endpoint_recipe(endpoint: EndpointSpec) -> str:
    """Return what tells one endpoint from another over time: its version is what may change."""
    return digest_of({"endpoint": endpoint.base_url, "model": endpoint.model})


def learn(
    folder: Path, *, label: str, model: str, tasks: Iterable[str], recipes: Collection[str] = ()
) -> Earlier:
    """Return what earlier runs of the same label and model tell about candidates.

    Candidates with these recipes are looked at. Where there is none, any candidate is: the same
    tasks on the same model are a better guess than none.

    Args:
        folder: The folder that holds the runs.
        label: `ResultsSpec.label`.
        model: `ModelSpec.id`.
        tasks: Tasks and groups of the spec.
        recipes: One a candidate; see `recipe_of`. Without any, all candidates count alike.
    """
    wanted = list(tasks)
    try:
        with history.opened(folder) as connection:
            connection.row_factory = sqlite3.Row
            rows = _Rows(connection, label, model)
            counted = {task: _newest(rows, task, recipes) for task in wanted}
            return Earlier(
                flips={task: _flips(found) for task, found in counted.items() if found},
                runs={
                    task: tuple(dict.fromkeys(row["run_id"] for row in found))
                    for task, found in counted.items()
                },
            )
    except (HistoryError, OSError):
        return Earlier()


@dataclass(frozen=True)
class _Rows:
    """Rows of a label and a model, by the first metric of their task."""

    connection: sqlite3.Connection
    label: str
    model: str

    def of_candidates(self, task: str, recipes: Collection[str] = ()) -> Iterator[sqlite3.Row]:
        """Return a task's rows, newest first; what is not asked for is not read."""
        marks = ", ".join("?" * len(recipes))
        made = f"AND recipe IN ({marks})" if recipes else ""
        statement = f"""
            SELECT run_id, questions, checkpoint, serving, n, lost, gained FROM history
            WHERE label = ? AND model = ? AND task = ? AND "primary" AND arm <> ? {made}
            ORDER BY created DESC, history_row DESC
            """  # noqa: S608
        return self.connection.execute(
            statement, [self.label, self.model, task, BASELINE, *recipes]
        )


def _newest(rows: _Rows, task: str, recipes: Collection[str]) -> list[sqlite3.Row]:
    """Return the rows that count for a task, each measurement once, however often it was reused."""
    found: dict[tuple[str | None, ...], sqlite3.Row] = {}
    for row in rows.of_candidates(task, recipes):
        numbers = [_number(row, column) for column in ("n", "lost", "gained")]
        if any(number is None for number in numbers) or (numbers[0] or 0) < _FEWEST:
            continue
        # Candidates that are served otherwise have the baseline's checkpoint.
        found.setdefault((row["questions"], row["checkpoint"], row["serving"]), row)
        if len(found) == _RUNS:
            break
    return list(found.values()) or (_newest(rows, task, ()) if recipes else [])


def _flips(found: Iterable[sqlite3.Row]) -> Flips:
    def total(column: str) -> int:
        return sum(int(_number(row, column) or 0) for row in found)

    return Flips(rows=total("n"), flipped=total("lost") + total("gained"))


def _number(row: sqlite3.Row, column: str) -> float | None:
    value = row[column]  # a cell of an older run is empty
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return value
