"""Are the scores right? They are made once more from the stored rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from infra.contracts.errors import ComparisonError
from infra.contracts.records import Report, TaskScores
from infra.machine.garbage import uncollected
from infra.report.receipt.checks import Checked, checked, counted
from infra.report.receipt.comparing import close
from infra.suite.rows import UNFINISHED, Row, questions_digest, read_rows

Reported: TypeAlias = Mapping[str, Mapping[str, TaskScores]]
"""Place in a report → the tasks it tells there."""


def tasks_of(report: Report) -> Reported:
    """Return all that a run's report tells of its tasks."""
    arms = {f"arms.{arm}.tasks": result.tasks for arm, result in report.arms.items()}
    answered = {
        f"judged.{name}.answered": one.answered
        for name, one in report.judged.items()
        if one.answered
    }
    return arms | answered


@uncollected()
def check_scores(reported: Reported, folder: Path) -> Checked:
    """Return which scores, counts and digests of questions do not follow from the rows."""
    wrong: list[str] = []
    notes: list[str] = []
    scores = 0
    for place, tasks in reported.items():
        for name, task in tasks.items():
            where = f"{place}.{name}"
            try:
                rows = [*read_rows(folder / task.samples, name)]
            except ComparisonError as error:
                wrong.append(f"{where}: its rows cannot be read: {error.fact}")
                continue
            for path, found in _with_subtasks(where, task):
                members = _members(found)
                own = [row for row in rows if row.task in members]
                wrong += _counts(path, found, own)
                means = list(_means(path, found, own))
                scores += len(found.metrics)
                wrong += [text for text, derived in means if derived]
                notes += [text for text, derived in means if not derived]
    return checked("scores", f"{counted(scores, 'score')}, made again from the rows", wrong, notes)


def _with_subtasks(path: str, task: TaskScores) -> Iterator[tuple[str, TaskScores]]:
    yield path, task
    for name, subtask in task.subtasks.items():
        yield from _with_subtasks(f"{path}.subtasks.{name}", subtask)


def _members(task: TaskScores) -> set[str]:
    return {leaf.name for leaf in _leaves(task)}


def _leaves(task: TaskScores) -> list[TaskScores]:
    if not task.subtasks:
        return [task]
    return [leaf for subtask in task.subtasks.values() for leaf in _leaves(subtask)]


def _counts(path: str, task: TaskScores, rows: Sequence[Row]) -> Iterator[str]:
    if task.n != len(rows):
        yield f"{path}.n is {task.n}, but there are {counted(len(rows), 'row')}"
    if task.truncated != (cut := sum(bool(row.truncated) for row in rows)):
        yield f"{path}.truncated is {task.truncated}, but {cut} answers were cut"
    if task.unfinished != (ended := sum(row.finish_reason == UNFINISHED for row in rows)):
        yield f"{path}.unfinished is {task.unfinished}, but {ended} answers ended in a thought"
    if task.questions != questions_digest(rows):
        yield f"{path}.questions is not the digest of the questions in the rows"


def _means(path: str, task: TaskScores, rows: Sequence[Row]) -> Iterator[tuple[str, bool]]:
    """Return what does not fit, and whether that is wrong or merely not to be derived.

    A group's score is the mean of its rows, or of its tasks where its definition weighs them
    alike (lm-eval's `weight_by_size`).
    """
    for metric, reported in task.metrics.items():
        values = [row.metrics.get(metric) for row in rows]
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        if not rows or len(numbers) not in (len(rows), reported.n):
            yield f"{path}.metrics.{metric}: the rows carry no score of their own, so it was not "\
                  "made again", False  # fmt: skip
            continue
        mean = math.fsum(numbers) / len(numbers)
        leaves = _leaves(task) if task.subtasks else []
        parts = [leaf.metrics[metric].value for leaf in leaves if metric in leaf.metrics]
        candidates = [mean, *([math.fsum(parts) / len(parts)] if parts else [])]
        if any(close(reported.value, candidate) for candidate in candidates):
            continue
        # An accuracy is a mean; a corpus score (BLEU, a word error rate) need not be one. Earlier
        # versions did not declare which is which.
        rights = set(numbers) <= {0.0, 1.0} and 0 <= reported.value <= 1
        derived = reported.aggregation == "mean" or (reported.aggregation is None and rights)
        yield (f"{path}.metrics.{metric}.value is {reported.value}, but the mean of its rows is "
               f"{mean}", derived)  # fmt: skip
