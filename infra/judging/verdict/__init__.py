"""Holds a comparison against the margin: PASS, FAIL or INCONCLUSIVE.

A test of non-inferiority over all rows, with a guard for each task; the rules stand in
`VerdictSpec`. Under no change a FAIL has at most the chance `1 - confidence`: half of it is spent
on the pooled interval, half on all tasks together. At a true loss of exactly the margin, so has
a PASS. A task without points may have a margin of its own, in its metric's unit.

findings  what the comparison shows
words     how it is said
tasks     how a single task is said
"""

from __future__ import annotations

from infra.contracts.records import RowComparison, Verdict
from infra.contracts.specs import VerdictSpec
from infra.judging.comparison import decisive
from infra.judging.verdict.findings import find
from infra.judging.verdict.words import Words

__all__ = ["decide"]


def decide(
    comparison: RowComparison,
    spec: VerdictSpec,
    *,
    what: str,
    candidates: int = 1,
    margin_points: float | None = None,
    widened_from: float | None = None,
    stopped_after: int | None = None,
    of: int | None = None,
) -> Verdict:
    """Return what the comparison shows about the margin.

    Args:
        comparison: The comparison, computed at the confidence of `spec.among(candidates)`; p-values
            of tasks are adjusted over all candidates.
        spec: Which loss is acceptable.
        what: Who is to blame or to praise; see `change_name`.
        candidates: How many the run has.
        margin_points: The margin to hold it against; none takes the spec's.
        widened_from: The margin of the spec, if the rows could not resolve it.
        stopped_after: Rows after which a sequential test ended the evaluation. The pooled effect
            then has to come from that test, and p-values of single tasks, which do not allow to
            stop when they please, decide nothing. It may be all rows: limits of a test that may
            stop early hold then, too.
        of: Rows that there are; none if that is not known.

    Raises:
        ValueError: The comparison was computed at another confidence.
    """
    confidence = spec.among(candidates).confidence
    own = {
        task.task: margin
        for task in decisive(comparison)
        if (margin := spec.own_margin(task.task, task.metric)) is not None
    }
    computed = [comparison.pooled.confidence] if comparison.pooled else []
    computed += [task.confidence for task in decisive(comparison) if task.task in own]
    if wrong := [one for one in computed if one != confidence]:
        raise ValueError(f"computed at {wrong[0]:g}, to be judged at {confidence:g}")
    margin = spec.margin_points if margin_points is None else margin_points
    findings = find(comparison, spec, margin, sequential=stopped_after is not None)
    words = Words(findings, spec.among(candidates), what, margin, widened_from)
    reasons = words.reasons()
    if stopped_after is not None:
        reasons.append(_stopped(stopped_after, of))
    return Verdict(
        status=findings.status,
        headline=words.headline(),
        reasons=tuple(reasons),
        needed=words.needed() if findings.status == "INCONCLUSIVE" else "",
        margin_points=margin,
        widened_from_points=widened_from,
        own_margins=own,
        stopped_after=stopped_after,
    )


def _stopped(rows: int, of: int | None) -> str:
    if rows == of:
        return (
            f"The evaluation could have been stopped early; all {rows:,} rows were asked, and the "
            "limits are those of a test that may stop."
        )
    whole = f" of {of:,}" if of else ""
    return f"The evaluation was stopped after {rows:,}{whole} rows, as was asked."
