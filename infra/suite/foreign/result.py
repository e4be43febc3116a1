"""One task as another program evaluated it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from infra.contracts.errors import ComparisonError
from infra.contracts.records import FileDigest, MetricValue, TaskScores
from infra.suite.foreign.files import digest, refuse
from infra.suite.metrics import is_better_higher, unit_of_name
from infra.suite.rows import Row

_SAME = 1e-6
"""Programs round what they report."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What the user says of metrics where neither their files nor their names do."""

    points: Collection[str] = ()
    """Metrics whose every row lies between 0 and 1."""

    lower_is_better: Collection[str] = ()
    primary: str = ""
    """The metric to judge by; empty: the first of each task."""


@dataclass(frozen=True, slots=True)
class Result:
    """One task with its rows."""

    program: str
    """That evaluated it."""

    task: str
    rows: list[Row]
    source: FileDigest
    reported: Mapping[str, float] = field(default_factory=dict)
    """`<metric>,<filter>` → what the program made of all rows, where it says."""

    higher_is_better: Mapping[str, bool] = field(default_factory=dict)
    """Metric without its filter → which way is better, where the program says."""

    version: str = ""
    num_fewshot: int | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)
    """Of the evaluation; both arms have to agree."""

    notes: tuple[str, ...] = ()
    """What weakens a comparison, a sentence each."""

    def scores(self, samples: str, declared: Declared) -> TaskScores:
        """Return the record of the task.

        Args:
            samples: Where its rows are written, below a folder.
            declared: What the user says of metrics.

        Raises:
            ComparisonError: There is no such metric, or a mark is no finite number.
        """
        names = self._names()
        primary = self._primary(names, declared)
        values = {name: self._value(name, declared) for name in names}
        if values[primary] is None:
            self._refuse_marks(primary)
        return TaskScores(
            name=self.task,
            metrics={name: value for name, value in values.items() if value is not None},
            left_out=tuple(name for name, value in values.items() if value is None),
            primary_metric=primary,
            n=len(self.rows),
            num_fewshot=self.num_fewshot or 0,
            version=self.version,
            conditions=dict(self.conditions),
            dataset=self.source.name,
            questions="",  # rows are paired by content; numbers may be in any order
            samples=samples,
            seconds=0,
            truncated=sum(row.truncated for row in self.rows),
        )

    def _names(self) -> list[str]:
        """Return the metrics, refusing rows of which some have other ones than the rest."""
        names = [*self.rows[0].metrics]
        for row in self.rows:
            if set(row.metrics) != set(names):
                raise ComparisonError(
                    f"{self.source.name}: row {row.doc_id} of {self.task} is marked by "
                    f"{', '.join(row.metrics) or 'nothing'}, others by {', '.join(names)}.",
                    cause="The file holds rows of two tasks, or of two runs.",
                    remedy="Give each task a file of its own.",
                    field="metrics", task=self.task, document=row.doc_id,
                )  # fmt: skip
        return names

    def _value(self, name: str, declared: Declared) -> MetricValue | None:
        """Return a metric over all rows; none if it is no finite number."""
        metric = name.partition(",")[0]
        marks = [row.score(name) for row in self.rows]
        known = [mark for mark in marks if mark is not None and math.isfinite(mark)]
        mean = math.fsum(known) / len(known) if known else None
        reported = self.reported.get(name, mean)
        whole = len(known) == len(marks) and reported is not None and mean is not None
        whole = whole and math.isclose(reported or 0, mean or 0, rel_tol=_SAME, abs_tol=_SAME)
        value = mean if whole else self.reported.get(name)
        if value is None or not math.isfinite(value):
            return None
        better = False if metric in declared.lower_is_better else self.higher_is_better.get(metric)
        return MetricValue(
            value=value,
            stderr=None,
            n=len(marks),
            higher_is_better=is_better_higher(metric, better),
            unit="points" if metric in declared.points else unit_of_name(metric, self.task),
            aggregation="mean" if whole else "corpus",
        )

    def _refuse_marks(self, name: str) -> NoReturn:
        """Name the first row whose mark is no number."""
        row = next(
            row for row in self.rows
            if (mark := row.score(name)) is None or not math.isfinite(mark)
        )  # fmt: skip
        raise ComparisonError(
            f"{self.source.name}: row {row.doc_id} of {self.task} has {row.metrics[name]!r:.60} "
            f"for {name}, which is no finite number.",
            cause="Its answer could not be marked, or the metric is made of all rows together.",
            remedy="Evaluate it again, or judge by another metric: --metric NAME.",
            field="metrics", task=self.task, document=row.doc_id,
        )  # fmt: skip

    def _primary(self, names: Sequence[str], declared: Declared) -> str:
        if not declared.primary:
            strict = (name for name in names if "strict" in name.partition(",")[2])
            return next(strict, names[0])
        wanted = [name for name in names if declared.primary in (name, name.partition(",")[0])]
        if not wanted:
            raise ComparisonError(
                f"{self.task} has no metric {declared.primary!r}.",
                cause=f"{self.source.name} has {', '.join(names)}.",
                remedy="Name one of them with --metric, or leave it out.",
                field="metrics", task=self.task,
            )  # fmt: skip
        return wanted[0]


def one_row(
    task: str,
    number: int,
    *,
    question: Any,
    prompt: str,
    target: Any,
    answer: Any,
    marks: Mapping[str, Any],
    doc: Mapping[str, Any],
    repeat: int | None = None,
) -> Row:
    """Return a row of a program that has no hashes of its own.

    Args:
        task: The task.
        number: Of the question, within its file.
        question: What is asked, by its content.
        prompt: As the model read it; empty where the file does not say.
        target: The right answer.
        answer: What came back.
        marks: `<metric>,<filter>` → mark.
        doc: Columns of the question.
        repeat: Which of its repeats, from 0; none of a question that is asked once.
    """
    filters = {name.partition(",")[2] for name in marks}
    return Row(
        task=task,
        doc_id=number,
        doc_hash=digest(question),
        prompt_hash=digest(prompt),
        target_hash=digest(target),
        prompt=prompt,
        continuations=[],
        target=target,
        responses=[answer],
        truncated=False,
        filtered=dict.fromkeys(filters, answer),
        metrics={name: _number(mark) for name, mark in marks.items()},
        doc=dict(doc),
        repeat=repeat,
    )


def _number(mark: Any) -> Any:
    return float(mark) if isinstance(mark, bool | int) else mark


def require_asked(path: Path, asked: str, where: str) -> None:
    """Refuse a row that does not say what was asked: any two with the same answer would pair.

    Args:
        path: The file.
        asked: The question, as far as the file says it.
        where: Which row it is.

    Raises:
        ComparisonError: It says nothing.
    """
    if not asked.strip():
        refuse(
            path,
            f"does not say what was asked {where}",
            "Rows are paired by their questions, and the file does not hold this one.",
            "Evaluate it again, so that the program keeps what it asks.",
        )


def require_once(path: Path, seen: Counter[Any], what: str) -> None:
    """Refuse a file in which a question stands more than once, by its number.

    Args:
        path: The file.
        seen: Number of a question, and whatever may differ within it → how often it is there.
        what: What is counted.

    Raises:
        ComparisonError: One stands twice.
    """
    again = next((key for key, count in seen.items() if count > 1), None)
    if again is not None:
        refuse(
            path,
            f"holds {what} {again} {seen[again]} times",
            "Two runs, or two tasks, were written into one file.",
            "Keep one of them: which marks count, nobody can tell.",
        )
