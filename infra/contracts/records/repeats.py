"""What questions show that were asked several times each."""

from __future__ import annotations

from infra.contracts.records.record import Record


class Steadiness(Record):
    """How one arm answers the same questions again and again."""

    always: int
    """Questions that are answered rightly each time."""

    sometimes: int
    never: int


class PassAt(Record):
    """Share of questions of which one of k answers at least is right."""

    k: int
    baseline: float
    candidate: float
    difference: float
    """Candidate minus baseline."""

    low: float | None
    high: float | None
    """Ends of the interval for the difference, by question; none where there is no basis for one.
    """

    method: str
    """Name of the interval."""


class TaskRepeats(Record):
    """One task whose questions were asked several times each, by its primary metric."""

    questions: int
    repeats: int
    correlation: float | None
    """How alike the differences between the arms are within a question, from 0 to 1: with 0, each
    repeat shows as much as another question; with 1, nothing. None where nothing differs."""

    effective: float | None
    """Questions, asked once, that would show as much as these."""

    baseline: Steadiness | None
    candidate: Steadiness | None
    """None if answers are not right or wrong; of `passes` as well."""

    passes: tuple[PassAt, ...] = ()
    """The smallest k first. That of 1 is the mean over repeats."""
