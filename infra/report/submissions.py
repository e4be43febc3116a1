"""Files that are handed in somewhere: what each arm says of rows without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from infra.contracts.records import ArmResult, TaskScores
from infra.report.tables import Table


@dataclass(frozen=True)
class HandedIn:
    """One file."""

    task: str
    arm: str
    path: str
    address: str
    """Relative to the page."""

    rows: int
    uniform: int


def of_arms(arms: Mapping[str, ArmResult]) -> list[HandedIn]:
    """Return the files of all arms, task by task."""
    found = [one for arm, result in arms.items() for one in of_tasks(arm, result.tasks)]
    return sorted(found, key=lambda one: one.task)


def of_tasks(arm: str, tasks: Mapping[str, TaskScores]) -> list[HandedIn]:
    """Return the files of one arm."""
    return [
        HandedIn(name, arm, file.path, quote(file.path), file.rows, file.uniform)
        for name, scores in tasks.items()
        if (file := scores.submission) is not None
    ]


def table(files: Sequence[HandedIn]) -> Table:
    """Return the files in a table."""
    return Table(
        "To hand in",
        [
            {
                "Task": one.task,
                "Arm": one.arm,
                "Rows": f"{one.rows:,}",
                "Uniform, nothing to ask": f"{one.uniform:,}",
                "File": one.path,
            }
            for one in files
        ],
    )
