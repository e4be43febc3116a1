"""Writes what an arm says of rows without labels: a file that is handed in somewhere."""

from __future__ import annotations

import csv
import io

from infra.contracts.records import SubmissionFile, TaskScores
from infra.store.content import write_atomically
from infra.store.run_folder import RunFolder
from infra.suite.own.submission import SUBMITTED, submission_of
from infra.suite.rows import read_rows


def submitted(scores: TaskScores, arm: str, run: RunFolder) -> TaskScores:
    """Write the file of a task whose rows have no labels, and return scores that name it.

    Args:
        scores: Of one arm, whose sample rows lie in the run's folder.
        arm: Its name.
        run: Its folder receives the file.

    Returns:
        The scores as they are, where rows have labels.
    """
    rows = read_rows(run.path / scores.samples, scores.name)
    first = next(rows, None)
    found = submission_of([first, *rows]) if first and SUBMITTED in first.doc else None
    if found is None:
        return scores
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([found.columns, *found.rows])
    file = run.path / "submissions" / arm / f"{scores.name}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)  # names of tasks may hold a slash
    write_atomically(file, text.getvalue())
    record = SubmissionFile(
        path=file.relative_to(run.path).as_posix(), rows=len(found.rows), uniform=found.uniform
    )
    return scores.model_copy(update={"submission": record})
