"""What was compared where a candidate may have been stopped early: the rows that both answered.

The baseline answers everything. Where the candidate answered fewer rows, the baseline's
scores are made again over just these, so that every number is about the same questions.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from infra.contracts.errors import ComparisonError
from infra.contracts.records import ArmResult, Comparison, MetricValue, Pooled, TaskScores
from infra.judging.asked import by_question
from infra.judging.pairing import RowPair, RunRows
from infra.judging.sequential import pooled_so_far
from infra.store.content import write_atomically
from infra.suite.metrics import is_corpus
from infra.suite.rows import UNFINISHED, Row, questions_digest, read_lines, read_rows

SAMPLES = "samples/baseline-beside-{}"
"""Folder of the baseline's rows that were compared with a candidate, below the run's folder."""

_NO_NARROWER = "and no narrower than for a number of rows fixed before"


def answered_of(baseline: ArmResult, candidate: ArmResult, folder: Path, into: str) -> ArmResult:
    """Return the baseline over the rows that the candidate answered.

    Tasks of which it answered everything stay as they are.

    Args:
        baseline: The arm over all its rows.
        candidate: The arm that may have answered less.
        folder: The run's folder.
        into: Folder for the baseline's rows, below the run's folder or absolute.
    """
    return baseline.model_copy(
        update={
            "tasks": {
                name: _over(scores, candidate.tasks[name], folder, f"{into}/{name}.jsonl")
                if name in candidate.tasks and candidate.tasks[name].n != scores.n
                else scores
                for name, scores in baseline.tasks.items()
            }
        }
    )


def pooled(
    baseline: ArmResult, candidate: ArmResult, found: Comparison, run: RunRows
) -> Pooled | None:
    """Return the effect over all rows, for a verdict that may be looked at before the last row.

    The limits are those of the test that allows it (see `infra.judging.sequential`),
    and no narrower than those for a fixed number of rows: these know of subjects and of questions
    asked twice, and a wider limit can only make a verdict rarer.

    Args:
        baseline: The arm as it came, over the rows that were answered.
        candidate: The arm that was quantized.
        found: The comparison of both.
        run: The rows of both.

    Returns:
        The effect over the tasks that the comparison pools; none if it pools none.

    Raises:
        ComparisonError: A row is not simply right or wrong.
    """
    fixed = found.pooled
    if fixed is None:
        return None
    rows = [
        step
        for task in fixed.tasks
        for step in steps(baseline.tasks[task], candidate.tasks[task], run)
    ]
    anytime = pooled_so_far(rows, fixed.tasks, fixed.confidence)
    return anytime.model_copy(
        update={
            "low": min(anytime.low, fixed.low),
            "high": max(anytime.high, fixed.high),
            "bound": min(anytime.bound, fixed.bound),
            "repeats": fixed.repeats,
            "flip_rate": fixed.flip_rate,
            "method": f"{anytime.method}, {_NO_NARROWER}",
        }
    )


def means(scores: TaskScores, rows: Sequence[Row]) -> dict[str, MetricValue] | None:
    """Return every metric made again from rows, or none if one of them is not their mean.

    A group's score is the mean of its rows, or of its parts where its definition weighs them alike
    (lm-eval's `weight_by_size`).

    Args:
        scores: As they were scored over all of these rows.
        rows: These rows.
    """
    found = _means(scores, rows, rows)
    if found is None or any(
        means(sub, _own(sub, rows)) is None for sub in scores.subtasks.values()
    ):
        return None
    return found


def rows_of(scores: TaskScores, folder: Path) -> list[Row]:
    """Return the rows of a task, in the order of the file.

    Raises:
        ComparisonError: They cannot be read.
    """
    return [*read_rows(folder / scores.samples, scores.name)]


def _over(whole: TaskScores, part: TaskScores, folder: Path, samples: str) -> TaskScores:
    wanted = {(row.task, row.doc_id) for row in rows_of(part, folder)}
    lines = [*read_lines(folder / whole.samples, whole.name)]
    kept = [(line, row) for line, row in lines if (row.task, row.doc_id) in wanted]
    write_atomically(folder / samples, "".join(line for line, _ in kept))
    return _again(whole, [row for _, row in lines], [row for _, row in kept], samples)


def _again(
    whole: TaskScores, all_rows: Sequence[Row], rows: Sequence[Row], samples: str
) -> TaskScores:
    metrics = _means(whole, all_rows, rows)
    if metrics is None:
        raise ComparisonError(
            f"The score of {whole.name} in the baseline cannot be made again over a part of its "
            "rows.",
            cause="It is not the mean of its rows.",
            remedy="Set verdict.early_stop to False.",
            task=whole.name, field="metrics",
        )  # fmt: skip
    return whole.model_copy(
        update={
            "metrics": metrics,
            "n": len(rows),
            "questions": questions_digest(rows),
            "samples": samples,
            "joules": None,  # that all rows took; what these took nobody has read
            "truncated": sum(bool(row.truncated) for row in rows),
            "unfinished": sum(row.finish_reason == UNFINISHED for row in rows),
            "subtasks": {
                name: _again(sub, _own(sub, all_rows), _own(sub, rows), samples)
                for name, sub in whole.subtasks.items()
            },
        }
    )


def _means(
    whole: TaskScores, all_rows: Sequence[Row], rows: Sequence[Row]
) -> dict[str, MetricValue] | None:
    found = {}
    for metric, score in whole.metrics.items():
        value = _value(whole, metric, all_rows, rows)
        if value is None:
            return None
        made = score.stderr is not None and not whole.subtasks
        found[metric] = score.model_copy(
            update={
                "value": value, "stderr": _stderr(metric, rows) if made else None, "n": len(rows)
            }
        )  # fmt: skip
    return found


def _value(
    whole: TaskScores, metric: str, all_rows: Sequence[Row], rows: Sequence[Row]
) -> float | None:
    """Return the metric over some rows, made as it is made over all of them."""
    if is_corpus(whole.metrics[metric]):
        return None
    score = whole.metrics[metric].value
    if _close(score, _mean(metric, all_rows)):
        return _mean(metric, rows)
    parts = list(whole.subtasks.values())
    if not parts or any(metric not in part.metrics for part in parts):
        return None
    if not _close(score, _mean_of([_value(p, metric, _own(p, all_rows), _own(p, all_rows))
                                  for p in parts])):  # fmt: skip
        return None
    return _mean_of(
        [_value(part, metric, _own(part, all_rows), _own(part, rows)) for part in parts]
    )


def _mean(metric: str, rows: Sequence[Row]) -> float | None:
    return _mean_of([row.metrics.get(metric) for row in rows])


def _mean_of(values: Sequence[Any]) -> float | None:
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    if not values or len(numbers) < len(values):
        return None
    return math.fsum(numbers) / len(numbers)


def _stderr(metric: str, rows: Sequence[Row]) -> float | None:
    """Return the standard error of a mean, as lm-eval's `mean_stderr`; that of questions' means."""
    asked: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        asked.setdefault((row.task, row.doc_id), []).append(float(row.metrics[metric]))
    values = [statistics.fmean(each) for each in asked.values()]
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def steps(baseline: TaskScores, candidate: TaskScores, run: RunRows) -> Iterator[float]:
    """Yield candidate minus baseline of each question of a task: -1, 0 or 1, good is up.

    Of one that is asked several times, the mean.

    Raises:
        ComparisonError: A row is not simply right or wrong.
    """
    metric = baseline.primary_metric
    better = 1 if baseline.metrics[metric].higher_is_better else -1
    pairs = run.paired(baseline, candidate)
    for asked in by_question(pairs) or [[pair] for pair in pairs]:
        found = [_step(pair, baseline.name, metric) for pair in asked]
        yield better * sum(found) / len(found)


def _step(pair: RowPair, task: str, metric: str) -> int:
    one, other = pair.baseline.score(metric), pair.candidate.score(metric)
    if one not in (0, 1) or other not in (0, 1):
        raise ComparisonError(
            f"A row of {task} scores {one!r:.40} in the baseline and {other!r:.40} in "
            f"the candidate in {metric}, neither right nor wrong.",
            cause="A test that may stop early takes rows that are right or wrong.",
            remedy="Set verdict.early_stop to False, or leave the task out.",
            task=task, field="metrics", document=pair.baseline.doc_id,
        )  # fmt: skip
    return int(other) - int(one)


def _own(scores: TaskScores, rows: Iterable[Row]) -> list[Row]:
    members = _leaves(scores)
    return [row for row in rows if row.task in members]


def _leaves(scores: TaskScores) -> set[str]:
    if not scores.subtasks:
        return {scores.name}
    return set().union(*(_leaves(subtask) for subtask in scores.subtasks.values()))


def _close(one: float, other: float | None) -> bool:
    return other is not None and math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
