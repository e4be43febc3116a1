"""Is the report right? Scores, comparison and verdict are made once more from the stored rows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from infra import asked, fidelity, noise
from infra.comparison import compare, recipe_name
from infra.contracts.errors import AssayError
from infra.contracts.records import ArmResult, Comparison, Record, Report, TaskScores
from infra.evaluation.scores import exam_digest
from infra.receipt.checks import Checked, checked, counted
from infra.verdict import decide

Row = dict[str, Any]

_SECOND_SITTING = "arm-base-again.json"
"""Of the base model, for the noise floor; in the run's folder."""

_FIRST_SITTING = "arm-base.json"

_NEEDED = {
    "task", "doc_id", "doc_hash", "prompt_hash", "target_hash", "metrics", "truncated",
}  # fmt: skip

_WORDS = ("method", "headline", "reasons", "needed")
"""Fields that another version may word in another way; a change of theirs has its own digest."""


def check_scores(report: Report, folder: Path) -> Checked:
    """Return which scores, counts and exam digests do not follow from the rows."""
    wrong: list[str] = []
    notes: list[str] = []
    scores = 0
    for arm, result in report.arms.items():
        for name, task in result.tasks.items():
            where = f"arms.{arm}.tasks.{name}"
            try:
                rows = _rows(folder / task.samples)
            except (OSError, ValueError, KeyError, TypeError) as error:
                wrong.append(f"{where}: its rows cannot be read: {error!r:.200}")
                continue
            for path, found in _with_subtasks(where, task):
                members = _members(found)
                own = [row for row in rows if row["task"] in members]
                wrong += _counts(path, found, own)
                means = list(_means(path, found, own))
                scores += len(found.metrics)
                wrong += [text for text, derived in means if derived]
                notes += [text for text, derived in means if not derived]
    return checked("scores", f"{counted(scores, 'score')}, made again from the rows", wrong, notes)


def check_comparison(report: Report, folder: Path) -> tuple[Checked, Comparison | None]:
    """Return where the comparison is not what rows and readings give, and what they give."""
    told = report.comparison
    notes = []
    try:
        again = _compared(report, folder)
    except (AssayError, ArithmeticError, KeyError, OSError, TypeError, ValueError) as error:
        fact = error.fact if isinstance(error, AssayError) else repr(error)
        wrong = [f"it cannot be made again: {fact:.300}"]
        return checked("comparison", "differences, intervals, tests", wrong), None
    if told.lengths:
        notes.append("lengths of written answers were not made again: that takes the tokenizer")
        again = again.model_copy(update={"lengths": told.lengths})
    wrong = [*_unequal("comparison", _plain(told), _plain(again))]
    what = f"{counted(len(again.metrics), 'difference')} with intervals and tests, made again"
    return checked("comparison", what, wrong, notes), again


def _compared(report: Report, folder: Path) -> Comparison:
    base, quantized = report.arms["base"], report.arms["quantized"]
    found: dict[str, Any] = {}
    if report.comparison.noise is not None:
        again = _arm(folder / _SECOND_SITTING)
        # Of an exam that was stopped early the report holds the rows that both arms were asked.
        first = _arm(folder / _FIRST_SITTING) if report.spec.verdict.early_stop else base
        found["noise"] = noise.floor(first, again, folder)
    # Without one although both were read: the readings could not be compared, which was told.
    if report.comparison.fidelity and base.reading is not None and quantized.reading is not None:
        found["fidelity"] = fidelity.compare(base.reading, quantized.reading, folder)
    exam = compare(base, quantized, folder, report.spec.verdict.confidence)
    if report.spec.verdict.early_stop:
        found["pooled"] = asked.pooled(base, quantized, exam, folder)
    return exam.model_copy(update=found)


def _arm(path: Path) -> ArmResult:
    return ArmResult.model_validate_json(path.read_text("utf-8"))


def check_verdict(report: Report, comparison: Comparison | None) -> Checked:
    """Return where the verdict is not what the comparison gives."""
    verdict = report.verdict
    early_stop = report.spec.verdict.early_stop
    if comparison is None:
        wrong = ["it cannot be made again, since the comparison cannot"]
        return checked("verdict", verdict.status, wrong)
    try:
        again = decide(
            comparison,
            report.spec.verdict,
            what=recipe_name(report.spec.quantization),
            margin_points=verdict.margin_points,
            widened_from=verdict.widened_from_points,
            stopped_after=(comparison.pooled.rows if early_stop and comparison.pooled else None),
        )
    except ValueError as error:
        return checked("verdict", verdict.status, [f"it cannot be made again: {error}"])
    wrong = [*_unequal("verdict", _plain(verdict), _plain(again))]
    asked = report.spec.verdict.margin_points
    wanted = verdict.widened_from_points or verdict.margin_points
    if wanted != asked:
        wrong.append(f"the margin is {wanted:g} points, but {asked:g} was asked for")
    return checked("verdict", f"{verdict.status}, made again", wrong)


def _rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not row.keys() >= _NEEDED:
            raise ValueError(f"line {number} is no row")
    return rows


def _with_subtasks(path: str, task: TaskScores) -> Iterator[tuple[str, TaskScores]]:
    yield path, task
    for name, subtask in task.subtasks.items():
        yield from _with_subtasks(f"{path}.subtasks.{name}", subtask)


def _members(task: TaskScores) -> set[str]:
    if not task.subtasks:
        return {task.name}
    return set().union(*(_members(subtask) for subtask in task.subtasks.values()))


def _counts(path: str, task: TaskScores, rows: Sequence[Row]) -> Iterator[str]:
    if task.n != len(rows):
        yield f"{path}.n is {task.n}, but there are {counted(len(rows), 'row')}"
    if task.truncated != (cut := sum(bool(row["truncated"]) for row in rows)):
        yield f"{path}.truncated is {task.truncated}, but {cut} answers were cut"
    if task.exam != exam_digest(rows):
        yield f"{path}.exam is not the digest of the questions in the rows"


def _means(path: str, task: TaskScores, rows: Sequence[Row]) -> Iterator[tuple[str, bool]]:
    """Return what does not fit, and whether that is wrong or merely not to be derived.

    A group's score is the mean of its rows, or of its parts where its definition weighs them
    alike (lm-eval's `weight_by_size`).
    """
    for metric, told in task.metrics.items():
        values = [row["metrics"].get(metric) for row in rows]
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        if not rows or len(numbers) < len(rows):
            yield f"{path}.metrics.{metric}: the rows carry no score of their own, so it was not "\
                  "made again", False  # fmt: skip
            continue
        mean = math.fsum(numbers) / len(numbers)
        parts = [sub.metrics[metric].value for sub in task.subtasks.values()
                 if metric in sub.metrics]  # fmt: skip
        candidates = [mean, *([math.fsum(parts) / len(parts)] if parts else [])]
        if any(_close(told.value, candidate) for candidate in candidates):
            continue
        # An accuracy is a mean; a corpus score (BLEU, a word error rate) need not be one.
        derived = set(numbers) <= {0.0, 1.0} and 0 <= told.value <= 1
        yield (f"{path}.metrics.{metric}.value is {told.value}, but the mean of its rows is "
               f"{mean}", derived)  # fmt: skip


def _plain(record: Record) -> Any:
    return json.loads(record.model_dump_json())


def _unequal(path: str, told: Any, found: Any) -> Iterator[str]:
    """Return where two JSON documents differ; numbers may differ by rounding."""
    if isinstance(told, dict) and isinstance(found, dict):
        keys = dict.fromkeys([*told, *found])
        for key in (key for key in keys if key not in _WORDS):
            yield from _unequal(f"{path}.{key}", told.get(key), found.get(key))
    elif isinstance(told, list) and isinstance(found, list) and len(told) == len(found):
        for place, (one, other) in enumerate(zip(told, found, strict=True)):
            yield from _unequal(f"{path}[{place}]", one, other)
    elif _numeric(told) and _numeric(found):
        if not _close(told, found):
            yield f"{path} is {told}, but {found} follows from what is stored"
    elif told != found:
        yield f"{path} is {told!r:.200}, but {found!r:.200} follows from what is stored"


def _numeric(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
