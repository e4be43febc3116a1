"""Whether a model is right as often as it is sure, and whether the order of answers moves it."""

from __future__ import annotations

from infra.contracts.records.record import Record

BINS = 10
"""Parts of equal width that probabilities from 0 to 1 are sorted into."""


class ReliabilityBin(Record):
    """Rows whose answer is about as probable."""

    rows: int
    confidence: float
    """Mean probability of the answer; 0 without rows."""

    right: float
    """Share of the answers that are right; 0 without rows."""


class Reliability(Record):
    """How sure one arm is of its answers, and how often they are right."""

    rows: int
    confidence: float
    """Mean probability of the answer."""

    right: float
    error: float
    """Expected calibration error: mean distance of both, bin by bin, weighted by rows."""

    bins: tuple[ReliabilityBin, ...]
    """From the least sure to the surest."""


class Positions(Record):
    """What one arm makes of pairs of answers that were shown in both orders."""

    pairs: int
    agree: int
    """Pairs judged alike in both orders."""

    first: int
    second: int
    """Rows in which the answer that was shown first, or second, is preferred; the others are ties.
    """


class TaskReliability(Record):
    """One task in both arms."""

    baseline: Reliability
    candidate: Reliability
    baseline_positions: Positions | None = None
    candidate_positions: Positions | None = None
    """None unless pairs were shown in both orders."""
