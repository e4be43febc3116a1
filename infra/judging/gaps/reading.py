"""Rows with choices, as both arms saw them, by the metric that is judged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from infra.judging.choices import UNITS, first_best, named_right, worths
from infra.judging.pairing import RowPair
from infra.suite.rows import Row

_MOST_LEFT_OUT = 0.5
"""Share of rows that may be left out: beyond it the metric is not the best of the choices."""


@dataclass(frozen=True)
class ChoiceRow:
    """One question; what a choice is worth is in the unit of the metric, see `UNITS`."""

    row: Row
    """As the baseline answered it."""

    baseline: tuple[float, ...]
    candidate: tuple[float, ...]
    """What each choice is worth."""

    right: frozenset[int] | None
    """The choices that are right; none if that is not to be found out."""

    was_right: bool
    is_right: bool
    """As the baseline and as the candidate was marked."""

    @cached_property
    def pick(self) -> int:
        """The baseline's answer."""
        return first_best(self.baseline)

    @property
    def gap(self) -> float:
        """By how much the baseline's best choice is ahead of its second."""
        return ahead(self.baseline, frozenset({self.pick}))

    @property
    def candidate_gap(self) -> float:
        """By how much the candidate's best choice is ahead of its second."""
        return ahead(self.candidate, frozenset({first_best(self.candidate)}))

    @property
    def kept_gap(self) -> float:
        """By how much the baseline's answer is ahead in the candidate; below zero if no more."""
        return ahead(self.candidate, frozenset({self.pick}))

    @property
    def outcome(self) -> Literal["lost", "gained", "changed", "kept"]:
        """What became of the row."""
        if self.was_right != self.is_right:
            return "lost" if self.was_right else "gained"
        return "kept" if first_best(self.candidate) == self.pick else "changed"


def ahead(worth: Sequence[float], some: frozenset[int]) -> float:
    """Return by how much the best of some choices is ahead of the best of all others."""
    return max(worth[n] for n in some) - max(one for n, one in enumerate(worth) if n not in some)


def choice_rows(pairs: Iterable[RowPair], metric: str) -> tuple[list[ChoiceRow], int]:
    """Return the rows of which a metric takes the best choice, and how many were left out.

    Left out are rows whose marks do not follow from their choices' log-probabilities: a
    definition may mark in a way of its own. If these are most of them, all are.

    Args:
        pairs: Rows of one task.
        metric: `<metric>,<filter>`.
    """
    if metric.partition(",")[0] not in UNITS:
        return [], 0
    read = [_read(pair, metric) for pair in pairs]
    found = [one for one in read if one is not None]
    left_out = len(read) - len(found)
    return ([], 0) if left_out > _MOST_LEFT_OUT * len(read) else (found, left_out)


def _read(pair: RowPair, metric: str) -> ChoiceRow | None:
    one, other = worths(pair.baseline, metric), worths(pair.candidate, metric)
    marks = pair.baseline.score(metric), pair.candidate.score(metric)
    if len(one) < 2 or len(one) != len(other) or not {*marks} <= {0.0, 1.0}:
        return None
    if not all(map(math.isfinite, (*one, *other))):
        return None
    answers = {(first_best(one), marks[0]), (first_best(other), marks[1])}
    named = named_right(pair.baseline, len(one))
    right = named if _fits(named, answers, len(one)) else _from_marks(answers, len(one))
    if right is not None and not _fits(right, answers, len(one)):
        return None
    return ChoiceRow(
        row=pair.baseline, baseline=tuple(one), candidate=tuple(other), right=right,
        was_right=marks[0] == 1, is_right=marks[1] == 1,
    )  # fmt: skip


_Answers = set[tuple[int, float | None]]
"""Which choice was taken, and how that was marked."""


def _fits(right: frozenset[int], answers: _Answers, count: int) -> bool:
    """Return whether marks follow from these choices being right; some are, and some are not."""
    return 0 < len(right) < count and all((pick in right) == (mark == 1) for pick, mark in answers)


def _from_marks(answers: _Answers, count: int) -> frozenset[int] | None:
    """Return the right choices where the target names none, as far as the marks give them away.

    Of two contexts for one continuation (winogrande) the target is the continuation.
    """
    taken = frozenset(pick for pick, mark in answers if mark == 1)
    wrong = {pick for pick, mark in answers if mark != 1}
    if taken:
        return taken
    return frozenset(range(count)) - wrong if count - len(wrong) <= 1 else None
