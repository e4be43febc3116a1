"""How well functions are called: part by part, and by how many of them are offered."""

from __future__ import annotations

from infra.contracts.records.record import Record


class CallPart(Record):
    """One part of what makes a row right, over the rows that have it."""

    metric: str
    rows: int
    baseline: float
    candidate: float
    """Share of these rows."""


class OfferedFunctions(Record):
    """Rows with one number of functions."""

    offered: int
    rows: int
    baseline: float
    candidate: float
    """Share of the rows in which all is right."""

    low: float | None
    high: float | None
    """Ends of the interval of candidate minus baseline, row by row; none if there is no basis."""

    @property
    def difference(self) -> float:
        """Candidate minus baseline."""
        return self.candidate - self.baseline


class FunctionCalls(Record):
    """One task with functions in both arms."""

    confidence: float
    """Of every interval."""

    parts: tuple[CallPart, ...]
    offered: tuple[OfferedFunctions, ...]
    """From the fewest functions to the most."""
