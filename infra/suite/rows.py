"""Rows: one for each document of an arm, as a line of JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from infra.contracts.errors import ComparisonError
from infra.store.content import digest_of, write_atomically

_SUBJECTS = ("subject", "Subdomain", "category", "subject_category")
"""Columns that tell what a question is about: MMLU and its kin, gpqa, MMLU-Pro."""

_QUESTIONS = ("question", "problem", "query")
"""Columns that hold the question itself, the most literal first; a query may be a whole prompt."""

BY_CHANCE = "by_chance"
"""Column in which a kind of rows declares what one scores without knowing anything: 0 to 1."""

UNFINISHED = "thinking"
"""Why an answer ended that never came to be one: the model still thought."""

_FLOAT_NOISE = 1e-9
"""A metric's own rounding may put a right answer at 1.0000000002."""


Documents: TypeAlias = Mapping[str, Collection[int]]
"""Task without subtasks → numbers of the documents to evaluate, at least one."""


@dataclass(frozen=True)
class Row:
    """One document, answered by one arm."""

    task: str
    """The subtask, for a row of a group."""

    doc_id: int
    doc_hash: str
    prompt_hash: str
    target_hash: str
    prompt: str
    continuations: list[str]
    """The choices as they were put after the prompt; empty for a generated answer."""

    target: Any
    responses: Any
    truncated: bool
    """True if the answer ran into the token limit."""

    filtered: dict[str, Any]
    """Filter → what it made of the responses."""

    metrics: dict[str, Any]
    """`<metric>,<filter>` → what the row scores."""

    doc: dict[str, Any]

    finish_reason: str | None = None
    """Why the text generated after the prompt ended, or `UNFINISHED`; none where the server gave no
    reason."""

    repeat: int | None = None
    """Which of its repeats, from 0; none of a question that is asked once."""

    @cached_property
    def subject(self) -> tuple[str, str]:
        """What the question is about, as finely as the rows say."""
        named = (self.doc[column] for column in _SUBJECTS if self.doc.get(column))
        return self.task, str(next(named, ""))

    @cached_property
    def question(self) -> str:
        """Return what tells a question in whatever task, and in whatever words, it is asked."""
        return question_of(self.doc, self.doc_hash)

    @property
    def by_chance(self) -> float | None:
        """What the row scores without knowing anything, if its kind declares that."""
        declared = self.doc.get(BY_CHANCE)
        try:
            return float(str(declared)) if declared is not None else None
        except ValueError:  # a column of the user's own
            return None

    def score(self, metric: str) -> float | None:
        """Return what the row scores, a hair beside 0 or 1 as 0 or 1; none if that is no number."""
        value = self.metrics.get(metric)
        if not isinstance(value, int | float):
            return None
        for end in (0.0, 1.0):
            if abs(value - end) <= _FLOAT_NOISE:
                return end
        return float(value)

    def answer(self, metric: str) -> Any:
        """Return what a metric judged: a text, or the index of the likeliest choice."""
        filtered = self.filtered.get(metric.partition(",")[2])
        if (likelihoods := choice_likelihoods(filtered)) is not None:
            return likelihoods.index(max(likelihoods))
        return filtered[0] if isinstance(filtered, list) and len(filtered) == 1 else filtered


_OPTIONAL = ("finish_reason", "repeat")
"""What rows of earlier versions do not have."""

_COLUMNS = tuple(field.name for field in fields(Row))
_REQUIRED = tuple(name for name in _COLUMNS if name not in _OPTIONAL)


def question_of(doc: Mapping[str, Any], doc_hash: str) -> str:
    """Return what tells a question from others: the hash of its text, without regard to spaces.

    lm-eval hashes a document as the task prepared it: gpqa's tasks shuffle the choices each in its
    own way, and the same question would be another one in each of them. Questions that differ in
    nothing but their choices count as one; that can only widen the limits over all tasks.

    Args:
        doc: The document as the task prepared it.
        doc_hash: lm-eval's hash of it, which stands in where no column is called a question.
    """
    columns = {str(key).lower(): value for key, value in doc.items()}
    for name in _QUESTIONS:
        text = columns.get(name)
        if isinstance(text, str) and (words := " ".join(text.split())):
            return hashlib.sha256(words.encode(errors="surrogatepass")).hexdigest()
    return doc_hash


def choice_likelihoods(filtered: Any) -> list[float] | None:
    """Return the choices' log-likelihoods (nats), or none if this is no multiple choice."""
    if not isinstance(filtered, list) or not filtered:
        return None
    for item in filtered:
        if not isinstance(item, list) or len(item) != 2 or not isinstance(item[1], bool):
            return None
    return [float(likelihood) for likelihood, _ in filtered]


def questions_digest(rows: Iterable[Row]) -> str:
    """Return one digest for the questions: equal if and only if two arms had the same."""
    return digest_of(
        [[row.task, row.doc_id, row.doc_hash, row.prompt_hash, row.target_hash] for row in rows]
    )


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as JSON lines; the file appears whole or not at all."""
    values = ({name: getattr(row, name) for name in _columns(row)} for row in rows)
    lines = [json.dumps(value, ensure_ascii=False, default=_plain) + "\n" for value in values]
    write_atomically(path, "".join(lines))


def _columns(row: Row) -> tuple[str, ...]:
    return _COLUMNS if row.repeat is not None else _COLUMNS[:-1]


def row_of(value: Mapping[str, Any]) -> Row:
    """Return a row of its JSON object.

    Raises:
        KeyError, TypeError: It is none.
    """
    return Row(
        **{name: value[name] for name in _REQUIRED},
        **{name: value[name] for name in _OPTIONAL if name in value},
    )


def read_rows(path: Path, task: str) -> Iterator[Row]:
    """Yield the rows of a task, in the order of the file.

    Raises:
        ComparisonError: The file cannot be read, or a line of it is no row.
    """
    return (row for _, row in read_lines(path, task))


def read_lines(path: Path, task: str) -> Iterator[tuple[str, Row]]:
    """Yield each line as it stands in the file, with its row; see `read_rows`."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    text = line.decode()
                    row = row_of(json.loads(text))
                except (ValueError, KeyError, TypeError) as error:
                    raise ComparisonError(
                        f"Line {number} of {path} is not a row of {task}: {error!r:.200}.",
                        cause="The samples file was cut or changed after the evaluation.",
                        remedy="Run the evaluation again.",
                        task=task,
                        field="rows",
                    ) from error
                yield text, row
    except OSError as error:
        raise ComparisonError(
            f"The rows of {task} cannot be read from {path}: {error.strerror}.",
            remedy="Run the evaluation again.",
            task=task,
            field="rows",
        ) from error


def _plain(value: Any) -> Any:
    """Return numpy's numbers as Python's, and a text for whatever else JSON does not know."""
    return value.item() if hasattr(value, "item") else str(value)
