"""What is handed in of rows without labels: one line a row, as a competition wants it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from infra.suite.own.kind import NOT_ASKED
from infra.suite.own.retrieval import RANKED, ROW
from infra.suite.rows import Row, choice_likelihoods

SUBMITTED = "to_submit"
"""Column of rows without labels: which of `MAKERS` makes the file of them."""

ID = "id"
"""Column of rows without labels, if they have it: what a line of the file begins with."""

NAMED_BY_ID = "preference"
"""Whose lines begin with it."""

NUMBER = "row_number"
"""Column of rows without labels: their place in the file, from 0."""


@dataclass(frozen=True)
class Submission:
    """A file to hand in."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[object, ...]]
    uniform: int
    """Rows among them that could not be asked, and have the uniform answer."""


def submission_of(rows: Sequence[Row]) -> Submission | None:
    """Return what is handed in of the rows of a task; none if they have labels."""
    names = {str(row.doc.get(SUBMITTED, "")) for row in rows}
    maker = MAKERS.get(names.pop()) if len(names) == 1 else None
    return maker(rows) if maker else None


def _preference(rows: Sequence[Row]) -> Submission:
    """Average the probabilities of both orders, as the answers are called in the file."""
    asked: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        asked[int(row.doc[NUMBER])].append(row)
    lines, uniform = [], 0
    for number in sorted(asked):
        doc = asked[number][0].doc
        if doc.get(NOT_ASKED):
            found = [[1 / 3] * 3]
            uniform += 1
        else:
            found = [_shares(row) for row in asked[number]]
        shares = (math.fsum(one[place] for one in found) / len(found) for place in range(3))
        lines.append((_id(doc, number), *shares))
    columns = ("id", "winner_model_a", "winner_model_b", "winner_tie")
    return Submission(columns, lines, uniform)


def _shares(row: Row) -> list[float]:
    """Return how probable it is that the first answer of the file is better, the second, neither.

    Raises:
        ValueError: The row has no likelihoods of three letters.
    """
    likelihoods = next(map(choice_likelihoods, row.filtered.values()), None)
    if likelihoods is None or len(likelihoods) != 3:
        raise ValueError(f"row {row.doc_id} of {row.task} has no probabilities of three letters")
    highest = max(likelihoods)
    weights = [math.exp(one - highest) for one in likelihoods]
    first, second, neither = (one / math.fsum(weights) for one in weights)
    return [second, first, neither] if row.doc["order"] == "ba" else [first, second, neither]


def _id(doc: Mapping[str, object], number: int) -> object:
    return doc[ID] if str(doc.get(ID, "")).strip() else number


def _retrieval(rows: Sequence[Row]) -> Submission:
    """List the likeliest of a ranking; where nothing was said, the first of the list."""
    once: dict[str, Row] = {}
    for row in rows:
        once.setdefault(str(row.doc[ROW]), row)  # of several repeats the first
    lines = [(name, row.doc[RANKED]) for name, row in once.items()]
    silent = sum(not any(row.metrics.values()) for row in once.values())
    return Submission((ROW, RANKED), lines, silent)


MAKERS: dict[str, Callable[[Sequence[Row]], Submission]] = {
    NAMED_BY_ID: _preference,
    "retrieval": _retrieval,
}
