"""How sure both arms are of their choices, and how often they are right, in tables and words."""

from __future__ import annotations

from infra.contracts import wording
from infra.contracts.records import Pair
from infra.contracts.records.reliability import Positions, Reliability
from infra.report.tables import Table

SIDES = ("Baseline", "Candidate")


def reliability(pair: Pair) -> Table | None:
    """Return how sure and how right both arms are, task by task."""
    rows = [
        {
            "Task": task,
            "Arm": arm,
            "Rows": f"{one.rows:,}",
            "Sure, mean": wording.share(one.confidence),
            "Right": wording.share(one.right),
            "Calibration error": wording.share(one.error),
        }
        for task, of in pair.comparison.reliability.items()
        for arm, one in zip(SIDES, (of.baseline, of.candidate), strict=True)
    ]
    return Table("Reliability", rows) if rows else None


def positions(pair: Pair) -> Table | None:
    """Return what both arms make of pairs that were shown in both orders."""
    rows = [
        {
            "Task": task,
            "Arm": arm,
            "Pairs": f"{one.pairs:,}",
            "Judged alike in both orders": wording.share(one.agree / one.pairs),
            "Prefers the first": _first(one),
        }
        for task, of in pair.comparison.reliability.items()
        for arm, one in zip(SIDES, (of.baseline_positions, of.candidate_positions), strict=True)
        if one is not None
    ]
    return Table("Both orders", rows) if rows else None


def _first(one: Positions) -> str:
    decided = one.first + one.second
    return f"{wording.share(one.first / decided)} of {decided:,}" if decided else "never decides"


def introduction() -> str:
    """Return what the section is about."""
    return (
        "How probable an arm finds its answer among the choices, beside how often such answers are "
        "right. A model that is surer than it is right misleads whoever acts on its probabilities, "
        "with the same score."
    )


def note(pair: Pair) -> str:
    """Return how the numbers were made; empty without any."""
    if not pair.comparison.reliability:
        return ""
    return (
        "Probabilities are those of the choices alone, normalised. Calibration error is the mean "
        "distance between sure and right over ten bins of equal width (expected calibration error, "
        "Guo et al. 2017); of few rows it is above zero by chance."
    )


def positions_note() -> str:
    """Return how the table of both orders is read."""
    return (
        "Each pair of answers is shown twice, the other way round the second time. A judge without "
        "a bias for a place judges them alike and prefers the first in half of the rows."
    )


def said(name: str, one: Reliability) -> str:
    """Return one arm of one task in words."""
    return (
        f"{name} is {wording.share(one.confidence)} sure and {wording.share(one.right)} right, "
        f"calibration error {wording.share(one.error)}"
    )
