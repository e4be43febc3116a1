"""Questions that were asked several times each: pass@k and steadiness, in tables and words."""

from __future__ import annotations

from infra.contracts import wording
from infra.contracts.records import Pair
from infra.contracts.records.repeats import PassAt, Steadiness, TaskRepeats
from infra.report.reliability_tables import SIDES
from infra.report.tables import Table


def passes(pair: Pair) -> Table | None:
    """Return pass@k of both arms, task by task."""
    rows = [
        {
            "Task": task,
            "k": str(one.k),
            "Baseline": wording.score(one.baseline, "points"),
            "Candidate": wording.score(one.candidate, "points"),
            "Difference": wording.difference(one.difference, "points"),
            "Interval": _interval(one),
        }
        for task, of in pair.comparison.repeats.items()
        for one in of.passes
    ]
    return Table("pass@k: one of k answers is right", rows) if rows else None


def _interval(one: PassAt) -> str:
    if one.low is None or one.high is None:
        return "-"
    return wording.interval(one.low, one.high, "points")


def steadiness(pair: Pair) -> Table | None:
    """Return how many questions each arm answers rightly always, sometimes and never."""
    rows = [
        {
            "Task": task,
            "Arm": arm,
            "Questions": f"{of.questions:,}",
            "Repeats": str(of.repeats),
            "Always right": _share(one.always, one),
            "Sometimes": _share(one.sometimes, one),
            "Never": _share(one.never, one),
        }
        for task, of in pair.comparison.repeats.items()
        for arm, one in zip(SIDES, (of.baseline, of.candidate), strict=True)
        if one is not None
    ]
    return Table("How steadily questions are answered", rows) if rows else None


def _share(count: int, one: Steadiness) -> str:
    whole = one.always + one.sometimes + one.never
    return f"{wording.share(count / whole)} ({count:,})"


def introduction() -> str:
    """Return what the section is about."""
    return (
        "Answers were drawn by chance, several to a question, with the same seeds in both arms. "
        "The score is the mean over all of them (pass@1); a question is one row, however often it "
        "was asked."
    )


def sentences(pair: Pair) -> list[str]:
    """Return what each task's repeats were worth."""
    return [_worth(task, of) for task, of in pair.comparison.repeats.items()]


def _worth(task: str, of: TaskRepeats) -> str:
    asked = wording.counted(of.questions, of.repeats, alike=True)
    if of.correlation is None or of.effective is None:
        return f"{task}: {asked}; the arms never differ."
    return (
        f"{task}: {asked}. Within a question the differences between the arms are correlated by "
        f"{of.correlation:.2f}: these answers show as much as about {of.effective:,.0f} questions "
        "that are asked once."
    )


def note() -> str:
    """Return how the numbers were made."""
    return (
        "pass@k is the unbiased estimate of Chen et al. (2021); intervals are of the difference, "
        "paired by question. Correlation: one-way analysis of variance (Fisher 1925)."
    )
