"""What a matrix gave: one row for each arm of each model."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from infra.contracts.records.arms import MetricValue
from infra.contracts.records.record import Record


class MatrixScore(Record):
    """The first metric of one task."""

    metric: str
    """`<metric>,<filter>`."""

    value: MetricValue


class MatrixRow(Record):
    """One arm of one model."""

    model: str
    """Name of the model in the table."""

    arm: str
    """`baseline`, or the candidate's name."""

    what: str
    """The model's id; of a candidate, what it changes."""

    parameters: int | None
    """Of the model, quantized or not; none where the files do not say."""

    scores: dict[str, MatrixScore]
    """Task → its first metric."""

    status: Literal["PASS", "FAIL", "INCONCLUSIVE"] | None
    """Of the verdict against its baseline; none for a baseline."""

    loss_points: float | None
    """Over all rows; none for a baseline, or without rows that have points."""

    low_points: float | None
    high_points: float | None
    """Ends of the loss's interval."""

    size_bytes: int
    """Of the weights on disk."""

    tokens_per_second: float | None
    """Written, at the most requests at a time that were timed."""

    report: str
    """Path of the page of its run, below the folder of the runs."""


class MatrixReport(Record):
    """Every cell that is finished, and why others are not."""

    schema_version: Literal[1] = 1
    label: str
    created: datetime
    rows: tuple[MatrixRow, ...]
    failed: dict[str, str]
    """Cell → why it has no result."""

    waiting: tuple[str, ...]
    """Cells that are not finished yet."""
