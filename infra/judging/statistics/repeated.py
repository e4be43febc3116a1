"""Questions that are asked several times each: what one question's answers share is no news twice.

What counts is the question: its score is the mean over its repeats, and the spread between
questions is all that an interval rests on.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace
from statistics import NormalDist, fmean, pvariance, variance

from infra.judging.statistics.effects import Effect, Limits, clustered, effect_of
from infra.judging.statistics.totals import mean_of, randomization_test

QUESTIONS = (
    "score limits over questions, each by the mean of its repeats (Wilson 1927, with the spread "
    "that is seen, and what is not seen lost by whole questions)"
)
BY_QUESTION = "by question, each by the mean of its repeats"

_HALVINGS = 60

Scores = Sequence[float]
"""One question's, one for each time it was asked."""


def repeated_effect(
    baseline: Sequence[Scores],
    other: Sequence[Scores],
    confidence: float,
    subjects: Sequence[Hashable] = (),
    questions: Sequence[Hashable] = (),
) -> Effect | None:
    """Return what questions show that were asked several times each; a row is a question.

    Where all scores lie between 0 and 1 limits are those of `question_limits`. Clustering by
    question alone takes the spread for known: of 200 questions that are asked 8 times each, it
    passes a loss of just the margin 9 times in 100 instead of 5, if that is lost by whole
    questions, of which few happen to be among these. Tango's interval of amounts lost and gained
    takes each answer's loss for one of a whole question, so that repeats would buy next to nothing.

    Args:
        baseline: Of each question; all are asked equally often.
        other: The same questions of the other arm.
        confidence: Of two-sided limits and of one-sided bounds.
        subjects: Which subject each question is of; empty if they have none.
        questions: What each asks; empty if all are known to be different.

    Returns:
        The effect; none if there is no basis for an interval.
    """
    one, two = [[fmean(scores) for scores in arm] for arm in (baseline, other)]
    values = {value for arm in (baseline, other) for scores in arm for value in scores}
    if not all(0 <= value <= 1 for value in values):
        found = effect_of(one, two, confidence, subjects, questions)
        return found and replace(found, method=f"{found.method}, {BY_QUESTION}")
    differences = [b - a for a, b in zip(one, two, strict=True)]
    differing = sum(
        a != b
        for mine, theirs in zip(baseline, other, strict=True)
        for a, b in zip(mine, theirs, strict=True)
    )
    effect = Effect(
        rows=len(differences),
        flips=differing / len(baseline[0]),
        difference=fmean(differences),
        limits=question_limits(differences, confidence),
        bounds=question_limits(differences, 2 * confidence - 1),
        method=QUESTIONS,
        p_value=_p_value(one, two) if values <= {0.0, 1.0} else None,
    )
    return clustered(effect, differences, confidence, subjects, questions)


def question_limits(differences: Sequence[float], confidence: float) -> Limits:
    """Return the interval for the mean difference of questions that score between 0 and 1.

    A score interval: it holds every mean D that the questions do not speak against, with the spread
    that they would have if D were true. If D lies below the mean d that is seen, losses have
    happened not to be among these questions. The worst that can be missing are questions that lose
    all: with a share e of them, (1 - e) d - e = D, and the variance of a question is

        (1 - e) (s^2 + d^2) + e - D^2

    with s^2 that of the questions that are seen. The limit is where d - D is z times the root of
    this over their number; the upper one that of the arms the other way round. Where questions only
    lose or keep all, it is Wilson's interval: E. B. Wilson (1927), "Probable inference, the law of
    succession, and statistical inference", Journal of the American Statistical Association 22,
    209-212; where none differs, it has Tango's width.

    Args:
        differences: One a question, within [-1, 1]; at least one.
        confidence: Two-sided.
    """
    return _limit(differences, confidence), -_limit([-each for each in differences], confidence)


def _limit(differences: Sequence[float], confidence: float) -> float:
    mean = fmean(differences)
    return score_limit(len(differences), mean, pvariance(differences, mean), confidence)


def score_limit(count: int, mean: float, spread: float, confidence: float) -> float:
    """Return the lower limit of `question_limits`.

    Args:
        count: Questions.
        mean: Of their differences, within [-1, 1].
        spread: Variance of their differences.
        confidence: Two-sided.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    if mean <= -1:
        return -1.0
    low, high = -1.0, mean
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        lost = (mean - middle) / (1 + mean)
        unseen = (1 - lost) * (spread + mean * mean) + lost - middle * middle
        if mean - middle > z * math.sqrt(max(unseen, 0.0) / count):
            low = middle
        else:
            high = middle
    return (low + high) / 2


def correlation(differences: Sequence[Scores]) -> float | None:
    """Return how alike the differences of one question's repeats are: 0 if as of different ones.

    The intraclass correlation of a one-way analysis of variance: R. A. Fisher (1925), "Statistical
    methods for research workers", chapter 7. No less than 0, no more than 1.

    Args:
        differences: Of each question, one for each repeat, as many for all.

    Returns:
        None with one repeat or one question, or if nothing differs.
    """
    questions, times = len(differences), len(differences[0])
    if questions < 2 or times < 2:
        return None
    means = [fmean(each) for each in differences]
    between = times * variance(means)
    within = math.fsum(
        (value - mean) ** 2 for each, mean in zip(differences, means, strict=True) for value in each
    ) / (questions * (times - 1))
    total = between + (times - 1) * within
    if total <= 0:
        return None
    return min(1.0, max(0.0, (between - within) / total))


def effective_rows(questions: int, times: int, alike: float) -> float:
    """Return how many questions, asked once, show as much as these.

    L. Kish (1965), "Survey sampling", section 5.4: rows over 1 + (times - 1) rho.

    Args:
        questions: How many.
        times: How often each is asked.
        alike: The correlation rho of one question's differences.
    """
    return questions * times / (1 + (times - 1) * alike)


def _p_value(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the p-value of no difference, with the arms swapped by whole questions."""
    import numpy as np

    left, right = (np.asarray(arm, dtype=float)[:, None] for arm in (one, other))
    return randomization_test(left, right, mean_of(len(one)))
