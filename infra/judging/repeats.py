"""What questions show that were asked several times each: pass@k, and how steady the arms are.

pass@k is the chance that one of k answers at least is right. Of n answers of which c are right, k
different ones hold none of these with C(n - c, k) / C(n, k): M. Chen et al. (2021), "Evaluating
large language models trained on code", arXiv:2107.03374, section 2.1, which shows that one minus
this is unbiased.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from infra.contracts.records import ArmResult, TaskScores
from infra.contracts.records.repeats import PassAt, Steadiness, TaskRepeats
from infra.judging import statistics
from infra.judging.asked import by_question
from infra.judging.pairing import RowPair, RunRows

_EACH = 4
"""Up to so many k are all told; beyond, those twice as large as the one before, and the last."""


def compare(
    baseline: ArmResult, candidate: ArmResult, rows: RunRows, confidence: float
) -> dict[str, TaskRepeats]:
    """Return what both arms show of each task whose questions are asked several times.

    Args:
        baseline: The arm as it came.
        candidate: The arm that is held against it.
        rows: Of both arms.
        confidence: Of the intervals, two-sided.

    Raises:
        ComparisonError: The arms were not evaluated alike.
    """
    found = {}
    for name, scores in baseline.tasks.items():
        if "sampling" not in scores.conditions:
            continue
        asked = by_question(rows.paired(scores, candidate.tasks[name]))
        if asked and (of := _of_task(scores, asked, confidence)) is not None:
            found[name] = of
    return found


def _of_task(
    scores: TaskScores, asked: Sequence[Sequence[RowPair]], confidence: float
) -> TaskRepeats | None:
    metric = scores.primary_metric
    one = [[pair.baseline.score(metric) for pair in each] for each in asked]
    other = [[pair.candidate.score(metric) for pair in each] for each in asked]
    left = [[value for value in each if value is not None] for each in one]
    right = [[value for value in each if value is not None] for each in other]
    if left != one or right != other:
        return None
    times = len(asked[0])
    alike = statistics.correlation(
        [[b - a for a, b in zip(*both, strict=True)] for both in zip(left, right, strict=True)]
    )
    marked = {value for arm in (left, right) for each in arm for value in each} <= {0.0, 1.0}
    subjects = [each[0].baseline.subject for each in asked]
    questions = [each[0].baseline.question for each in asked]
    return TaskRepeats(
        questions=len(asked),
        repeats=times,
        correlation=alike,
        effective=None if alike is None else statistics.effective_rows(len(asked), times, alike),
        baseline=_steadiness(left) if marked else None,
        candidate=_steadiness(right) if marked else None,
        passes=tuple(_pass_at(k, left, right, confidence, subjects, questions) for k in told(times))
        if marked
        else (),
    )


def told(times: int) -> list[int]:
    """Return the k whose pass@k is told of so many repeats."""
    found = list(range(1, min(times, _EACH) + 1))
    while 2 * found[-1] <= times:
        found.append(2 * found[-1])
    return found if found[-1] == times else [*found, times]


def pass_at(k: int, right: int, times: int) -> float:
    """Return the unbiased estimate that one of k answers at least is right.

    Args:
        k: No more than `times`.
        right: Answers that are.
        times: Answers.
    """
    return 1 - math.comb(times - right, k) / math.comb(times, k)


def _pass_at(
    k: int,
    baseline: Sequence[Sequence[float]],
    candidate: Sequence[Sequence[float]],
    confidence: float,
    subjects: Sequence[tuple[str, str]],
    questions: Sequence[str],
) -> PassAt:
    arms = [[pass_at(k, round(sum(each)), len(each)) for each in arm]
            for arm in (baseline, candidate)]  # fmt: skip
    means = [math.fsum(arm) / len(arm) for arm in arms]
    # One estimate a question, which is what limits by question take.
    one, other = ([[value] for value in arm] for arm in arms)
    effect = statistics.repeated_effect(one, other, confidence, subjects, questions)
    return PassAt(
        k=k,
        baseline=means[0],
        candidate=means[1],
        difference=means[1] - means[0],
        low=effect.limits[0] if effect else None,
        high=effect.limits[1] if effect else None,
        method=effect.method if effect else "none",
    )


def _steadiness(asked: Sequence[Sequence[float]]) -> Steadiness:
    always = sum(all(each) for each in asked)
    never = sum(not any(each) for each in asked)
    return Steadiness(always=always, sometimes=len(asked) - always - never, never=never)
