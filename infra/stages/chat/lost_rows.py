"""The rows of a run that its candidate lost, as questions to ask again."""

from __future__ import annotations

from typing import TypedDict

from infra.contracts.errors import ComparisonError
from infra.report.rows import rows_of
from infra.stages.chat.choosing import Chosen

LOST = "lost"


class LostRow(TypedDict):
    """One row that the baseline has right and the candidate wrong."""

    task: str
    title: str
    """The question in the document's own words."""

    question: str
    """As it was put, without the worked examples before it."""

    target: str
    """The right answer."""

    baseline: str
    """What the baseline answered in the run."""

    candidate: str


def lost_rows(chosen: Chosen) -> tuple[list[LostRow], str]:
    """Return the rows, and why there are none where they cannot be read.

    Of each task as many as a report shows.
    """
    try:
        tasks = rows_of(chosen.pair, chosen.folder)
    except (ComparisonError, OSError, ValueError) as error:
        return [], f"The run's rows cannot be read: {str(error).partition(chr(10))[0]}"
    rows: list[LostRow] = [
        {
            "task": task.task,
            "title": row.title.strip(),
            "question": row.question.strip(),
            "target": row.target,
            "baseline": row.baseline_answer,
            "candidate": row.candidate_answer,
        }
        for task in tasks
        for row in task.flips
        if row.outcome == LOST
    ]
    return rows, "" if rows else "The candidate lost no row that the baseline has right."
