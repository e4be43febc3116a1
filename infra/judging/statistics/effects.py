"""The difference of one metric between two arms, over rows that both answered."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from infra.judging.statistics.clustered import (
    CLUSTERED,
    FEWEST_SUBJECTS,
    REPEATED,
    clustered_mean,
)
from infra.judging.statistics.paired import (
    AMOUNTS,
    BOOTSTRAP,
    TANGO,
    PairedCounts,
    exact_mcnemar,
    paired_amounts,
    paired_means,
    paired_proportions,
)

Limits = tuple[float, float]

_FEW_REPEATED = 0.01
"""Share of rows that may ask a question again: some data sets repeat a few."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What the rows of one task show about one metric; other arm minus baseline."""

    rows: int
    flips: float
    """Rows that score differently; of questions that are asked several times, by the mean."""

    difference: float
    limits: Limits
    """Two-sided, at the confidence."""

    bounds: Limits
    """One-sided each, at the same confidence."""

    method: str
    p_value: float | None
    """Exact McNemar, two-sided; none where a row is not right or wrong."""

    clusters: int | None = None

    def mirrored(self) -> Effect:
        """Return the same with its sign turned, for metrics where lower is better."""
        return replace(
            self,
            difference=-self.difference,
            limits=(-self.limits[1], -self.limits[0]),
            bounds=(-self.bounds[1], -self.bounds[0]),
        )


def effect_of(
    baseline: Sequence[float],
    other: Sequence[float],
    confidence: float,
    subjects: Sequence[Hashable] = (),
    questions: Sequence[Hashable] = (),
) -> Effect | None:
    """Return what paired rows show.

    Rows that are right or wrong get Tango's interval, others a bootstrap of the documents. A
    bootstrap knows nothing of what it has not seen: of 100 rows of which 3 in 100 are lost, none is
    among them 5 times in 100, and too few far more often. Where all rows score between 0 and 1, and
    so none can lose more than 1, it is therefore made no narrower than Tango's interval of the
    amounts lost and gained. Else a single row at 0.5 would take a task out of Tango's care.

    Rows of enough subjects get the outer ends of that and of the interval clustered by subject:
    clustering can only make it wider, since few subjects can look alike by chance. The same goes
    for questions that come more than once.

    Args:
        baseline: One score a row.
        other: The same rows of the other arm.
        confidence: Of two-sided limits and of one-sided bounds.
        subjects: Which subject each row is of; empty if they have none.
        questions: Which question each row asks; empty if all are known to be different.

    Returns:
        The effect; none if the rows give no basis for an interval.
    """
    differences = [two - one for one, two in zip(baseline, other, strict=True)]
    if {*baseline, *other} <= {0.0, 1.0}:
        pairs = list(zip(baseline, other, strict=True))
        effect = binary_effect(
            PairedCounts(
                both=pairs.count((1.0, 1.0)),
                first_only=pairs.count((0.0, 1.0)),
                second_only=pairs.count((1.0, 0.0)),
                neither=pairs.count((0.0, 0.0)),
            ),
            confidence,
        )
    else:
        shares = all(0 <= value <= 1 for value in (*baseline, *other))
        found = _mean_effect(differences, confidence)
        if found is not None:
            effect = _no_narrower(found, differences, confidence) if shares else found
        elif shares and differences and not any(differences):
            effect = _no_change(differences, confidence)
        else:
            return None
    return clustered(effect, differences, confidence, subjects, questions)


def clustered(
    effect: Effect,
    differences: Sequence[float],
    confidence: float,
    subjects: Sequence[Hashable],
    questions: Sequence[Hashable],
) -> Effect:
    """Return an effect no narrower than by subject, and by question where some come again."""
    for clusters, method in _clusterings(subjects, questions):
        effect = _clustered(effect, differences, clusters, confidence, method)
        if method == CLUSTERED:
            effect = replace(effect, clusters=len(set(clusters)))
    return effect


def amounts_limits(
    differences: Sequence[float],
    confidence: float,
    subjects: Sequence[Hashable] = (),
    questions: Sequence[Hashable] = (),
) -> tuple[Limits, str] | None:
    """Return the interval for the mean of amounts that know no bounds, such as nats, and its name.

    As `effect_of`, without what it knows of scores between 0 and 1: there the largest loss of a row
    is known, however few rows are lost.

    Args:
        differences: One a row, other arm minus baseline.
        confidence: Two-sided.
        subjects: Which subject each row is of; empty if they have none.
        questions: Which question each row asks; empty if all are known to be different.

    Returns:
        None if the rows give no basis for an interval.
    """
    limits = paired_means(differences, confidence)
    if limits is None:
        return None
    methods = [BOOTSTRAP]
    for clusters, method in _clusterings(subjects, questions):
        limits = _outer(limits, clustered_mean(differences, clusters, confidence))
        methods.append(method)
    return limits, "; ".join(methods)


def _clusterings(
    subjects: Sequence[Hashable], questions: Sequence[Hashable]
) -> Iterator[tuple[Sequence[Hashable], str]]:
    """Yield what rows have to be clustered by."""
    if 1 < len(set(questions)) < (1 - _FEW_REPEATED) * len(questions):
        yield questions, REPEATED
    if len(set(subjects)) >= FEWEST_SUBJECTS:
        yield subjects, CLUSTERED


@lru_cache(maxsize=65_536)
def binary_effect(counts: PairedCounts, confidence: float) -> Effect:
    """Return what rows show that are right or wrong; the first arm is the other one.

    Args:
        counts: At least one row.
        confidence: Of two-sided limits and of one-sided bounds.
    """
    return Effect(
        rows=counts.n,
        flips=counts.first_only + counts.second_only,
        difference=(counts.first_only - counts.second_only) / counts.n,
        limits=paired_proportions(counts, confidence),
        bounds=paired_proportions(counts, 2 * confidence - 1),
        method=TANGO,
        p_value=exact_mcnemar(counts),
    )


def _mean_effect(differences: Sequence[float], confidence: float) -> Effect | None:
    limits = paired_means(differences, confidence)
    bounds = paired_means(differences, 2 * confidence - 1)
    if limits is None or bounds is None:
        return None
    return Effect(
        rows=len(differences),
        flips=sum(difference != 0 for difference in differences),
        difference=sum(differences) / len(differences),
        limits=limits,
        bounds=bounds,
        method=BOOTSTRAP,
        p_value=None,
    )


def _no_change(differences: Sequence[float], confidence: float) -> Effect:
    """Return what rows show of which none differs; there is nothing to resample."""
    return Effect(
        rows=len(differences),
        flips=0,
        difference=0.0,
        limits=paired_amounts(differences, confidence),
        bounds=paired_amounts(differences, 2 * confidence - 1),
        method=AMOUNTS,
        p_value=None,
    )


def _clustered(
    effect: Effect,
    differences: Sequence[float],
    clusters: Sequence[Hashable],
    confidence: float,
    method: str,
) -> Effect:
    return replace(
        effect,
        limits=_outer(effect.limits, clustered_mean(differences, clusters, confidence)),
        bounds=_outer(effect.bounds, clustered_mean(differences, clusters, 2 * confidence - 1)),
        method=f"{effect.method}; {method}",
    )


def _no_narrower(effect: Effect, differences: Sequence[float], confidence: float) -> Effect:
    return replace(
        effect,
        limits=_outer(effect.limits, paired_amounts(differences, confidence)),
        bounds=_outer(effect.bounds, paired_amounts(differences, 2 * confidence - 1)),
        method=f"{effect.method}; {AMOUNTS}",
    )


def _outer(one: Limits, other: Limits) -> Limits:
    return min(one[0], other[0]), max(one[1], other[1])
