"""Every kind of rows there is, and which one a file is of."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path

from infra.contracts.commands import PYTHON
from infra.contracts.errors import DatasetError
from infra.suite.own.behaviour import CALLS, STANCE
from infra.suite.own.choices import CHOICES
from infra.suite.own.documents import DOCUMENTS
from infra.suite.own.kind import QUESTIONS, Kind, Unfit, text_of
from infra.suite.own.preference import PREFERENCE
from infra.suite.own.retrieval import RETRIEVAL
from infra.suite.own.structured import SCHEMA
from infra.suite.own.table import Cells
from infra.suite.own.texts import EXACT, NUMBER, PATTERN, REFERENCE
from infra.suite.own.tools import KIND as TOOLS

KINDS: tuple[Kind, ...] = (
    RETRIEVAL,
    PREFERENCE,
    DOCUMENTS,
    CHOICES,
    NUMBER,
    PATTERN,
    SCHEMA,
    TOOLS,
    CALLS,
    STANCE,
    REFERENCE,
    EXACT,
)
"""In the order in which columns decide: an answer stands beside most others."""


def kind_of_columns(columns: Collection[str], path: Path) -> Kind:
    """Return the kind that a file is of.

    Args:
        columns: All that its rows have.
        path: The file, for the error.

    Raises:
        DatasetError: No column tells a kind, two do, or there is no question.
    """
    found = [kind for kind in KINDS if kind.column in columns]
    taken = {name for kind in found for name in kind.takes}
    found = [kind for kind in found if kind.column not in taken]
    asked_in = {*QUESTIONS, *(name for kind in found for name in kind.asked_in)}
    if asked_in.isdisjoint(columns):
        raise _unrecognised(
            f"{path.name} has no column called question or prompt", columns, QUESTIONS
        )
    if len(found) > 1 and found[-1] is EXACT:
        found.pop()
    if not found:
        raise _unrecognised(
            f"{path.name} has no column that says what a right answer is",
            columns,
            [kind.column for kind in KINDS],
        )
    if len(found) > 1:
        raise DatasetError(
            f"{path.name} could be marked in {len(found)} ways: it has the columns "
            f"{' and '.join(kind.column for kind in found)}.",
            cause="One file is one task, and is marked in one way.",
            remedy="Make a file of each, or rename the column that is only there to be read.",
        )
    kind = found[0]
    if kind.unlabelled and not any(name in columns for name in kind.labels):
        return kind.unlabelled
    return kind


def question_of(cells: Cells, besides: Collection[str] = ()) -> str:
    """Return the question of a row.

    Args:
        cells: The row.
        besides: Further columns in which it may stand.

    Raises:
        Unfit: It has none, or two.
    """
    columns = (*QUESTIONS, *besides)
    given = [text for name in columns if (text := text_of(cells.get(name, ""))).strip()]
    if not given:
        raise Unfit("has no question", "Give it one, or remove the row.")
    if len({*given}) > 1:
        raise Unfit(
            f"has {len(given)} questions, in {' and in '.join(columns)}",
            "Leave the one that is asked, and rename the other column.",
        )
    return given[0]


def _unrecognised(fact: str, columns: Collection[str], wanted: Collection[str]) -> DatasetError:
    near = {
        one: close[0]
        for one in columns
        if (close := difflib.get_close_matches(one.casefold(), wanted, n=1, cutoff=0.7))
    }
    meant = "".join(f" Is {one!r} meant to be {other!r}?" for one, other in near.items())
    listing = "; ".join(f"{kind.column}: {kind.meaning}" for kind in KINDS)
    return DatasetError(
        f"{fact}; it has {', '.join(sorted(columns)) or 'none'}.{meant}",
        cause=f"The columns say how answers are marked. {listing}.",
        remedy="Rename the column, or begin with an example of the kind you want: "
        f"`{PYTHON} -m deployments init-task KIND FILE.jsonl`.",
    )
