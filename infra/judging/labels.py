"""Right answers that are few labels: letters, yes and no, small numbers.

`(A)`, `a.` and ` A` are the same label, in the target as in the answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

from infra.judging.choices import first_best, worths
from infra.suite.rows import Row

_LETTERS = re.compile(r"[^\W\d_]|yes|no|true|false")
"""What is a label however few rows there are."""

_MOST_LABELS = 30
"""Of so many labels in equal parts the best guess gets 3 % right. With more there is little to
guess, and how often the most frequent one comes is hardly known."""

_SEEN = 3
"""Times that the most frequent of other labels has to come: two numbers may be equal by chance."""

_AROUND = " ()[]{}<>'\"`*$“”‘’"
_BEHIND = " .,:;!?"
_FINAL = "####"
"""Before the final answer, where a whole solution is the target."""

Labels: TypeAlias = frozenset[str]
"""All that would be right in one row."""


def labels_of(rows: Sequence[Row], choices: Sequence[int], metric: str) -> list[Labels] | None:
    """Return what would be right in each row; none if that is unclear."""
    found = [
        _offered(row, count) if count > 1 else _written(row.target)
        for row, count in zip(rows, choices, strict=True)
    ]
    labels = [label for label in found if label is not None]
    if len(labels) < len(found):
        return None
    if len(set(labels)) == 1 and not _is_meant(rows, labels[0], metric):
        return None
    return labels


def _offered(row: Row, count: int) -> Labels | None:
    options = [label_of(text) for text in row.continuations[:count]]
    if len(options) < count or len(set(options)) < count:  # not distinguished by what comes last
        return None
    targets = row.target if isinstance(row.target, list) else [row.target]
    right = set()
    for target in targets:
        if isinstance(target, int):
            right |= {options[target]} if 0 <= target < count else set()
        elif (label := label_of(str(target))) in options:
            right.add(label)
        else:
            return None
    return frozenset(right)


def picked(row: Row, metric: str) -> str:
    """Return the label of the choice that a metric takes for the answer."""
    return label_of(row.continuations[first_best(worths(row, metric))])


def _written(target: object) -> Labels | None:
    accepted = target if isinstance(target, list) else [target]
    if not all(isinstance(text, str | int | float) for text in accepted):
        return None
    return frozenset(label_of(str(text)) for text in accepted) or frozenset({""})


@lru_cache(maxsize=65_536)
def label_of(text: str) -> str:
    """Return a right answer as it is distinguished from others: `(A)`, `a.` and ` A` are the same.

    Of a whole solution it is what stands after the last `####`, but for numbers: these are worked
    out, and not chosen among few.
    """
    text = unicodedata.normalize("NFKC", text)
    before, _, final = text.rpartition(_FINAL)
    if before and any(char.isdigit() for char in final):
        final = text
    plain = " ".join(final.casefold().split())
    return plain.rstrip(_BEHIND).strip(_AROUND).rstrip(_BEHIND) or plain


def _is_meant(rows: Sequence[Row], label: Labels, metric: str) -> bool:
    """Return whether the one target of all rows is what their answers are held against.

    Tasks that mark answers by code of their own may have none, and name anything.
    """
    right = [row for row in rows if (row.score(metric) or 0) > 0]
    answers = [label_of(_text(row.answer(metric))) for row in right]
    held = sum(any(re.search(rf"\b{re.escape(one)}\b", text) for one in label) for text in answers)
    multiple = any(row.continuations for row in rows)
    return multiple or held * 2 >= len(right)


def _text(answer: object) -> str:
    return " ".join(map(str, answer)) if isinstance(answer, list) else str(answer)


def are_few(labels: Sequence[Labels]) -> bool:
    """Return whether right answers are so few different ones that they can be guessed.

    The number of labels is the effective one: one over the chance that two rows have the same
    (Simpson 1949), which does not depend on how many rows there are.
    """
    if all(_LETTERS.fullmatch(one) for label in labels for one in label):
        return True
    counts, rows = Counter(labels), len(labels)
    same = sum(count * (count - 1) for count in counts.values())
    return max(counts.values()) >= _SEEN and same * _MOST_LABELS >= rows * (rows - 1)
