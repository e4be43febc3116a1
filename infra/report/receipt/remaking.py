"""Is the report right? Scores, comparison and verdict are made once more from the stored rows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.contracts.errors import AssayError
from infra.contracts.records import ArmResult, Comparison, Report, TaskScores, Verdict
from infra.judging import answered_rows as asked
from infra.judging import noise
from infra.judging.comparison import Rules, compare, decides, recipe_name
from infra.judging.verdict import decide
from infra.probes import fidelity
from infra.report.receipt.checks import Checked, checked, counted
from infra.report.receipt.comparing import close, plain, reworded, unequal
from infra.report.receipt.margins import check_plan, margin_of
from infra.report.receipt.rules import NOT_IN_1, RULES, TOLD
from infra.suite.harness.scores import exam_digest

Row = dict[str, Any]

_SECOND_SITTING = "arm-base-again.json"
"""Of the base model, for the noise floor; in the run's folder."""

_FIRST_SITTING = "arm-base.json"

_NEEDED = {
    "task", "doc_id", "doc_hash", "prompt_hash", "target_hash", "metrics", "truncated",
}  # fmt: skip

_NOT_MADE = (AssayError, ArithmeticError, KeyError, OSError, TypeError, ValueError)
"""What making a comparison again raises on rows and records that somebody changed."""


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
    """Return where the comparison is not what rows and readings give, and what they give.

    By the rules of the version that wrote the report; where those of this one give something else
    that is a note.
    """
    told = report.comparison
    notes = []
    try:
        again = _compared(report, folder, RULES.get(report.rules))
    except _NOT_MADE as error:
        fact = error.fact if isinstance(error, AssayError) else repr(error)
        wrong = [f"it cannot be made again: {fact:.300}"]
        return checked("comparison", "differences, intervals, tests", wrong), None
    if told.lengths:
        notes.append("lengths of written answers were not made again: that takes the tokenizer")
        again = again.model_copy(update={"lengths": told.lengths})
    what = f"{counted(len(again.metrics), 'difference')} with intervals and tests, made again"
    if report.rules == 1:
        notes.append(
            "intervals and tests were not made again: version 1, which wrote it, had another method"
        )
        what = f"{counted(len(again.metrics), 'difference')}, made again"
        again = _as_1(again, told)
    wrong = [*unequal("comparison", plain(told), plain(again))]
    for place, (one, other) in enumerate(zip(told.metrics, again.metrics, strict=False)):
        words = reworded(f"comparison.metrics[{place}]", plain(one), plain(other))
        wrong += [text for text, number in words if number]
    if report.rules in RULES:
        notes += _otherwise(told, today(report, folder), report.rules)
    return checked("comparison", what, wrong, notes), again


def _compared(report: Report, folder: Path, rules: Rules | None) -> Comparison:
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
    exam = compare(base, quantized, folder, report.spec.verdict.confidence, rules)
    if report.spec.verdict.early_stop:
        found["pooled"] = asked.pooled(base, quantized, exam, folder)
    return exam.model_copy(update=found)


def _as_1(again: Comparison, told: Comparison) -> Comparison:
    """Return a comparison with all that version 1 did not compute taken from its own."""
    metrics = again.metrics
    if len(told.metrics) == len(metrics):
        metrics = tuple(
            one.model_copy(update={name: getattr(other, name) for name in NOT_IN_1})
            for one, other in zip(metrics, told.metrics, strict=True)
        )
    return again.model_copy(update={"metrics": metrics, "pooled": None})


def today(report: Report, folder: Path) -> Comparison | None:
    """Return the comparison by the rules of this version; none if it cannot be made."""
    try:
        return _compared(report, folder, None)
    except _NOT_MADE:
        return None


def _otherwise(told: Comparison, now: Comparison | None, version: int) -> list[str]:
    """Return what the rules of this version make of the same rows."""
    said = [TOLD.format(version=version)]
    for one, other in zip(told.metrics, now.metrics if now else (), strict=False):
        where = f"{one.task}, {one.metric}"
        if one.unit != other.unit:
            said.append(f"by today's rules {where} is in {other.unit}, not in {one.unit}")
        elif decides(one) and one.chance != other.chance:
            said.append(f"by today's rules guessing scores {_share(other.chance)} on {where}, "
                        f"not {_share(one.chance)}")  # fmt: skip
    return said


def _share(chance: float | None) -> str:
    return "no known share" if chance is None else f"{chance:.1%}".replace("%", " %")


def _arm(path: Path) -> ArmResult:
    return ArmResult.model_validate_json(path.read_text("utf-8"))


def check_verdict(report: Report, comparison: Comparison | None, folder: Path) -> Checked:
    """Return where verdict, margin and plan are not what comparison, spec and rows give."""
    verdict = report.verdict
    if comparison is None:
        wrong = ["it cannot be made again, since the comparison cannot"]
        return checked("verdict", verdict.status, wrong)
    if report.rules == 1:
        note = "it was judged before there were margins, and is not made again"
        known = verdict.status == "INCONCLUSIVE"
        wrong = [] if known else [f"verdict.status is {verdict.status!r}, which version 1 knew not"]
        return checked("verdict", verdict.status, wrong, [note])
    try:
        whole = _whole(report, folder)
        again = _decided(report, comparison, whole)
    except (AssayError, OSError, ValueError) as error:
        return checked("verdict", verdict.status, [f"it cannot be made again: {error}"])
    wrong = [*unequal("verdict", plain(verdict), plain(again))]
    words = [*reworded("verdict", plain(verdict), plain(again))]
    wrong += [text for text, number in words if number and whole]
    if not verdict.headline.startswith(f"{verdict.status}: "):
        wrong.append(f"verdict.headline does not begin with {verdict.status}")
    wrong += check_plan(report, whole, folder)
    notes = [text for text, number in words if not (number and whole)]
    now = today(report, folder) if report.rules in RULES else None
    if now and (judged := _decided(report, now, whole)).status != verdict.status:
        notes.append(f"by today's rules it would be {judged.headline}")
    return checked("verdict", f"{verdict.status}, made again", wrong, notes)


def _decided(report: Report, comparison: Comparison, whole: Mapping[str, TaskScores]) -> Verdict:
    pooled, (margin, widened_from) = comparison.pooled, margin_of(report)
    early_stop = report.spec.verdict.early_stop
    return decide(
        comparison,
        report.spec.verdict,
        what=recipe_name(report.spec.quantization),
        margin_points=margin,
        widened_from=widened_from,
        stopped_after=pooled.rows if early_stop and pooled else None,
        of=(
            sum(whole[task].n for task in pooled.tasks)
            if pooled and set(pooled.tasks) <= whole.keys()
            else None
        ),
    )


def _whole(report: Report, folder: Path) -> Mapping[str, TaskScores]:
    """Return the base arm's tasks over all their rows, of which the report may tell a part.

    Nothing where they are not there any more.
    """
    if not report.spec.verdict.early_stop:
        return report.arms["base"].tasks
    path = folder / _FIRST_SITTING
    return _arm(path).tasks if path.is_file() else {}


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
    return {leaf.name for leaf in _leaves(task)}


def _leaves(task: TaskScores) -> list[TaskScores]:
    if not task.subtasks:
        return [task]
    return [leaf for subtask in task.subtasks.values() for leaf in _leaves(subtask)]


def _counts(path: str, task: TaskScores, rows: Sequence[Row]) -> Iterator[str]:
    if task.n != len(rows):
        yield f"{path}.n is {task.n}, but there are {counted(len(rows), 'row')}"
    if task.truncated != (cut := sum(bool(row["truncated"]) for row in rows)):
        yield f"{path}.truncated is {task.truncated}, but {cut} answers were cut"
    if task.exam != exam_digest(rows):
        yield f"{path}.exam is not the digest of the questions in the rows"


def _means(path: str, task: TaskScores, rows: Sequence[Row]) -> Iterator[tuple[str, bool]]:
    """Return what does not fit, and whether that is wrong or merely not to be derived.

    A group's score is the mean of its rows, or of its tasks where its definition weighs them
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
        leaves = _leaves(task) if task.subtasks else []
        parts = [leaf.metrics[metric].value for leaf in leaves if metric in leaf.metrics]
        candidates = [mean, *([math.fsum(parts) / len(parts)] if parts else [])]
        if any(close(told.value, candidate) for candidate in candidates):
            continue
        # An accuracy is a mean; a corpus score (BLEU, a word error rate) need not be one. Earlier
        # versions did not declare which is which.
        rights = set(numbers) <= {0.0, 1.0} and 0 <= told.value <= 1
        derived = told.aggregation == "mean" or (told.aggregation is None and rights)
        yield (f"{path}.metrics.{metric}.value is {told.value}, but the mean of its rows is "
               f"{mean}", derived)  # fmt: skip
