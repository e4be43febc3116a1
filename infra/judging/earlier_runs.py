"""What earlier runs of a kind tell about the next one: how many rows flip, how long it takes.

Read from `history.csv` without pandas, since the preflight must be quick. What cannot be read tells
nothing: the history itself says what is wrong with it when a run is added.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.contracts.specs import BASELINE
from infra.store.history import NAME

_RUNS = 10
"""Newest measurements of a task that are counted."""

_BASELINES = (BASELINE, "base")
"""What the arm is called that others are held against, now and in rows of earlier versions."""

_FEWEST = 20
"""Rows of a measurement below which it is a trial."""


@dataclass(frozen=True)
class Flips:
    """Rows of one task in earlier runs."""

    rows: int
    flipped: int
    """Of these, right in one arm alone."""


@dataclass(frozen=True)
class Duration:
    """How long all arms of one run held an accelerator."""

    run: str
    rows: int
    """Of all tasks, in one arm."""

    startup_seconds: float
    """Of all engines together."""

    evaluation_seconds: float
    """Of all arms together."""


@dataclass(frozen=True)
class Earlier:
    """What earlier runs tell; nothing if there was none."""

    flips: Mapping[str, Flips] = field(default_factory=dict)
    """Task → its rows; without tasks that were never asked."""

    runs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Task → the runs whose rows are counted, newest first."""

    duration: Duration | None = None
    """Of the newest run of the same tasks."""


def learn(folder: Path, *, label: str, model: str, tasks: Iterable[str]) -> Earlier:
    """Return what earlier runs of the same label and model tell.

    Args:
        folder: The folder that holds the runs.
        label: `ResultsSpec.label`.
        model: `ModelSpec.id`.
        tasks: Tasks and groups that are asked.
    """
    rows = [
        row
        for row in _read(folder / NAME)
        if (row.get("label"), row.get("model"), row.get("primary")) == (label, model, "True")
    ]
    rows.sort(key=lambda row: row.get("created") or "", reverse=True)  # ISO 8601, all in UTC
    wanted = list(tasks)
    counted = {task: _newest(rows, task) for task in wanted}
    return Earlier(
        flips={task: _flips(found) for task, found in counted.items() if found},
        runs={task: tuple(row["run_id"] for row in found) for task, found in counted.items()},
        duration=_duration(rows, set(wanted)),
    )


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except (OSError, ValueError, csv.Error):
        return []


def _newest(rows: Iterable[dict[str, str]], task: str) -> list[dict[str, str]]:
    """Return the rows that count for a task, each measurement once, however often it was reused."""
    found: dict[tuple[str | None, ...], dict[str, str]] = {}
    for row in rows:
        if row.get("task") != task or row.get("arm") in _BASELINES:
            continue
        numbers = [_number(row, column) for column in ("n", "lost", "gained")]
        if any(number is None for number in numbers) or (numbers[0] or 0) < _FEWEST:
            continue
        # Candidates that are served otherwise have the baseline's checkpoint.
        same = tuple(row.get(column) for column in ("exam", "checkpoint", "serving"))
        found.setdefault(same, row)
    return list(found.values())[:_RUNS]


def _flips(found: Iterable[dict[str, str]]) -> Flips:
    def total(column: str) -> int:
        return sum(int(_number(row, column) or 0) for row in found)

    return Flips(rows=total("n"), flipped=total("lost") + total("gained"))


def _duration(rows: Iterable[dict[str, str]], tasks: set[str]) -> Duration | None:
    runs: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        runs.setdefault(row.get("run_id") or "", []).append(row)
    for run, of_run in runs.items():
        arms = {row.get("arm"): row for row in of_run}
        if {row.get("task") for row in of_run} != tasks or len(arms) < 2:
            continue
        startup = [_number(row, "startup_seconds") for row in arms.values()]
        rates = [_number(row, "documents_per_second") for row in arms.values()]
        counts = [_number(row, "n") for row in of_run if row.get("arm") in _BASELINES]
        if None in [*startup, *rates, *counts] or not any(counts) or 0 in rates:
            continue
        rows_told = sum(count or 0 for count in counts)
        return Duration(
            run=run,
            rows=int(rows_told),
            startup_seconds=sum(seconds or 0 for seconds in startup),
            # Where the tasks were stopped early every arm tells of the same rows, but the baseline
            # was asked all: only the rate is of what is counted.
            evaluation_seconds=sum(rows_told / (rate or 1) for rate in rates),
        )
    return None


def _number(row: Mapping[str, str], column: str) -> float | None:
    try:
        value = float(row[column])
    except (KeyError, TypeError, ValueError):  # an older column, a cell that was cut off or edited
        return None
    return value if math.isfinite(value) and value >= 0 else None
