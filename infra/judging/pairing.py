"""Joins the rows of two arms, and refuses arms that were not evaluated alike.

One row of a samples file is one document as lm-eval asked it. Rows belong together if task,
document, prompt and target are the same, by lm-eval's own hashes; the prompt may differ where
the arms have tokenizers of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from infra.contracts.errors import ComparisonError
from infra.contracts.records import TaskScores
from infra.machine.garbage import uncollected
from infra.suite.rows import Row, read_rows

_HASHES = ("doc_hash", "prompt_hash", "target_hash")
_OF_THE_TOKENIZER = ("prompts_begin_with",)
"""Conditions that each tokenizer decides by itself."""
_MOST_BYTES = 2**30
"""Of files whose rows are held; in memory they take up to some times as much."""


@dataclass(frozen=True, slots=True)
class RowPair:
    """One document, answered by both arms."""

    baseline: Row
    candidate: Row

    def differs(self, metric: str) -> bool:
        """Return whether the arms answered differently, right or wrong."""
        return bool(
            self.baseline.answer(metric) != self.candidate.answer(metric)
            or self.baseline.metrics.get(metric) != self.candidate.metrics.get(metric)
        )


class RunRows:
    """The rows of a run's arms: each file is read once, and each two arms are joined once.

    All that is compared of two arms goes over the same rows. They are held as long as this is, up
    to a gigabyte of files: rows of long documents are read whenever they are asked for.
    """

    def __init__(self, folder: Path) -> None:
        """Read nothing yet.

        Args:
            folder: The run's folder; `samples` is below it.
        """
        self._folder = folder
        self._read: dict[str, list[Row]] = {}
        self._bytes = 0
        self._joined: dict[tuple[str, str, bool], list[RowPair]] = {}

    def of(self, scores: TaskScores) -> Sequence[Row]:
        """Return the rows of one task in one arm, in the order of the file.

        Raises:
            ComparisonError: They cannot be read.
        """
        if (held := self._read.get(scores.samples)) is not None:
            return held
        path = self._folder / scores.samples
        with uncollected():
            rows = [*read_rows(path, scores.name)]
        if self._bytes + (size := path.stat().st_size) <= _MOST_BYTES:
            self._read[scores.samples] = rows
            self._bytes += size
        return rows

    def paired(self, baseline: TaskScores, candidate: TaskScores) -> Sequence[RowPair]:
        """Return the rows of one task in both arms, joined, in the baseline's order.

        Args:
            baseline: Scores of the one arm.
            candidate: Scores of the other.

        Raises:
            ComparisonError: The arms differ in a condition, or a row has no partner.
        """
        words_count = same_tokenizer(baseline, candidate)
        _require_same_conditions(baseline, candidate, words_count)
        key = baseline.samples, candidate.samples, words_count
        if (pairs := self._joined.get(key)) is None:
            with uncollected():
                pairs = self._join(baseline, candidate, words_count)
            if baseline.samples in self._read and candidate.samples in self._read:
                self._joined[key] = pairs
        if words_count and baseline.questions != candidate.questions:
            _refuse(baseline.name, "questions", baseline.questions, candidate.questions)
        return pairs

    def _join(
        self, baseline: TaskScores, candidate: TaskScores, words_count: bool
    ) -> list[RowPair]:
        left, right = (
            _keyed(scores, self.of(scores), words_count) for scores in (baseline, candidate)
        )
        if left.keys() != right.keys():
            _refuse_rows(baseline.name, left, right, words_count)
        return [RowPair(row, right[key]) for key, row in left.items()]


def paired_rows(baseline: TaskScores, candidate: TaskScores, folder: Path) -> Sequence[RowPair]:
    """Return the rows of one task in both arms, of which nothing else is wanted.

    Args:
        baseline: Scores of the one arm.
        candidate: Scores of the other.
        folder: The run's folder; `samples` is below it.

    Raises:
        ComparisonError: The arms differ in a condition, or a row has no partner.
    """
    return RunRows(folder).paired(baseline, candidate)


def same_tokenizer(baseline: TaskScores, candidate: TaskScores) -> bool:
    """Return whether the prompts of both arms were written by the same tokenizer and template.

    Else the same question may have been put in other words, which is part of what differs.
    """
    return not (baseline.tokenizer and candidate.tokenizer) or (
        baseline.tokenizer == candidate.tokenizer
    )


def _require_same_conditions(
    baseline: TaskScores, candidate: TaskScores, words_count: bool
) -> None:
    if baseline.subtasks.keys() != candidate.subtasks.keys():
        _refuse(baseline.name, "subtasks", sorted(baseline.subtasks), sorted(candidate.subtasks))
    for field, one in baseline.conditions.items():  # scores kept by earlier versions have none
        if field in _OF_THE_TOKENIZER and not words_count:
            continue
        if one != (other := candidate.conditions.get(field, one)):
            _refuse(baseline.name, field, one, other)
    for field in ("version", "num_fewshot", "n", "primary_metric"):
        if (one := getattr(baseline, field)) != (other := getattr(candidate, field)):
            _refuse(baseline.name, field, one, other)
    # The same metrics were computed where one came out as no finite number.
    computed = [sorted([*one.metrics, *one.left_out]) for one in (baseline, candidate)]
    if computed[0] != computed[1]:
        _refuse(baseline.name, "metrics", *computed)
    for name, one in baseline.metrics.items():
        for field in ("unit", "aggregation", "higher_is_better"):
            both = [getattr(value, field) for value in (one, candidate.metrics.get(name, one))]
            if None not in both and both[0] != both[1]:  # earlier versions declared nothing
                _refuse(baseline.name, f"{field} of {name}", *both)
    for name, subtask in baseline.subtasks.items():
        _require_same_conditions(subtask, candidate.subtasks[name], words_count)


_Key: TypeAlias = tuple[Any, ...]


def _keyed(scores: TaskScores, read: Iterable[Row], words_count: bool) -> dict[_Key, Row]:
    """Return the rows by what identifies them; that of a document that comes twice is its turn.

    Args:
        scores: Of the task.
        read: Its rows.
        words_count: Whether the words of the prompt belong to what identifies a row.
    """
    turns: Counter[_Key] = Counter()
    rows = {}
    for row in read:
        words = row.prompt_hash if words_count else ""
        key = (row.task, row.doc_hash, words, row.target_hash, row.repeat)
        rows[*key, turns[key]] = row
        turns[key] += 1
    if len(rows) != scores.n:
        raise ComparisonError(
            f"{scores.samples} holds {len(rows)} rows, but {scores.name} was scored on {scores.n}.",
            cause="The samples file was cut or changed after the evaluation.",
            remedy="Run the evaluation again.",
            task=scores.name,
            field="rows",
        )
    return rows


def _refuse_rows(
    task: str, left: dict[_Key, Row], right: dict[_Key, Row], words_count: bool
) -> NoReturn:
    """Name the first row without partner, and the field in which its namesake differs."""
    alone = next((left[key] for key in left if key not in right), None)
    if alone is None:
        extra = next(right[key] for key in right if key not in left)
        _refuse(extra.task, f"rows (document {extra.doc_id})", "absent", "present")
    for key, row in right.items():
        if (row.task, row.doc_id) == (alone.task, alone.doc_id) and key not in left:
            for field in _HASHES:
                if field == "prompt_hash" and not words_count:
                    continue
                if (one := getattr(alone, field)) != (other := getattr(row, field)):
                    _refuse(alone.task, f"{field} of document {alone.doc_id}", one, other)
    _refuse(alone.task, f"rows (document {alone.doc_id})", "present", "absent")


def _refuse(task: str, field: str, baseline: Any, candidate: Any) -> NoReturn:
    raise ComparisonError(
        f"The arms were not evaluated alike: {task} differs in {field}: "
        f"{baseline!s:.200} in the baseline, {candidate!s:.200} in the candidate.",
        cause="A row can only be compared with the same question, asked in the same words.",
        remedy="Evaluate both arms again with the same spec and the same rows.",
        task=task,
        field=field.split(" ", maxsplit=1)[0],
    )
