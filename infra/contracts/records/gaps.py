"""How close the choices of a row are to each other, and how many rows that lets flip."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from infra.contracts.records.record import Record

STEPS = 20
"""Parts of the rows between which quantiles lie: each is 5 % of them."""


class GapSpread(Record):
    """One arm's gaps over all rows."""

    mean: float
    quantiles: tuple[float, ...] = Field(min_length=STEPS + 1, max_length=STEPS + 1)
    """The largest gap of the smallest 0, 5, … 100 % of the rows."""

    @property
    def median(self) -> float:
        """Half of the rows have a smaller one."""
        return self.quantiles[STEPS // 2]


class GapChange(Record):
    """One kind of gap in both arms, row by row."""

    baseline: GapSpread
    candidate: GapSpread
    difference: float
    """Mean of the candidate minus mean of the baseline: below zero, gaps have shrunk."""

    low: float | None
    high: float | None
    """Ends of the interval for the difference; none where rows give no basis for one."""

    method: str
    """Name of the interval, with its source; or why there is none."""


class PredictedFlips(Record):
    """How many rows noise lets flip, beside those that did."""

    rows: int
    """Rows of which it can be said."""

    predicted: float
    low: int
    high: int
    """Ends of the range in which the number falls if nothing but noise flips rows."""

    seen: int

    @property
    def beyond(self) -> Literal["more", "fewer", ""]:
        """Where what was seen lies, if it is not within the range."""
        return "more" if self.seen > self.high else "fewer" if self.seen < self.low else ""


class CloseRow(Record):
    """One of the rows that are closest to flipping."""

    task: str
    """The subtask, for a row of a group."""

    doc_id: int
    baseline: float
    """By how much the baseline's answer is ahead of its next best choice."""

    candidate: float
    """The same of the same answer in the candidate; below zero where it takes another."""

    chance: float | None
    """That it is lost or gained by noise, or that it changes where it is not clear which choices
    are right; none where it cannot be said."""

    outcome: Literal["lost", "gained", "changed", "kept"]
    """What became of it; changed from one wrong answer to another, or from one right one."""


class Gaps(Record):
    """How close choices are over some rows."""

    rows: int
    left_out: int
    """Rows whose marks do not follow from their choices' log-probabilities."""

    unit: Literal["nats", "nats per character", "nats per byte", ""]
    """Of what a choice is worth to the metric; empty of several tasks that differ in it."""

    best: GapChange | None
    """Of the best choice to the second best; none of several units."""

    right: GapChange | None
    """Of the right choice to the best wrong one, below zero where the answer is wrong; none of
    several units, or if not every row gives away which is right."""

    changed: PredictedFlips | None
    """Rows in which another choice is taken; none for too few rows."""

    flips: PredictedFlips | None
    """Rows that are lost or gained; none for too few rows, or if not every row gives away which
    choice is right."""


class TaskGaps(Gaps):
    """Of one task."""

    metric: str
    """The primary one, if it takes the best of the choices; else the first that does."""

    slope: float | None
    """What is left of the baseline's gaps, noise aside; none for too few rows."""

    closest: tuple[CloseRow, ...]
    """Those closest to flipping, the likeliest first."""


class ChoiceGaps(Record):
    """Of every task with a metric that takes the best of several choices."""

    confidence: float
    """Of every interval and range."""

    tasks: dict[str, TaskGaps]
    whole: Gaps
    """Of all rows of these, each counting once."""
