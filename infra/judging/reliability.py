"""Whether an arm is right as often as it is sure, by the probabilities of its choices.

Choices' log-likelihoods, normalised over the choices, are how probable an arm finds each. Expected
calibration error is that of Guo et al. 2017 (https://arxiv.org/abs/1706.04599, eq. 3), over bins of
equal width.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from infra.contracts.records import ArmResult, TaskScores
from infra.contracts.records.reliability import (
    BINS,
    Positions,
    Reliability,
    ReliabilityBin,
    TaskReliability,
)
from infra.judging.choices import named_right
from infra.judging.pairing import RunRows
from infra.suite.rows import Row, choice_likelihoods

_JUDGED = ("acc", "log_loss")
"""Metrics that take choices by their probabilities alone."""

_ORDERS = ("ab", "ba")
_FIRST, _SECOND = 0, 1


def compare(baseline: ArmResult, candidate: ArmResult, rows: RunRows) -> dict[str, TaskReliability]:
    """Return how sure and how right both arms are, for each task that is judged by probabilities.

    Args:
        baseline: The arm as it came.
        candidate: The arm that is held against it.
        rows: Of both arms.

    Raises:
        ComparisonError: The rows cannot be read.
    """
    found = {}
    for name, task in baseline.tasks.items():
        sides = [_side(one, rows) for one in (task, candidate.tasks[name])]
        if all(sides):
            (one, places), (other, other_places) = sides  # type: ignore[misc]
            found[name] = TaskReliability(
                baseline=one,
                candidate=other,
                baseline_positions=places,
                candidate_positions=other_places,
            )
    return found


def _side(task: TaskScores, run: RunRows) -> tuple[Reliability, Positions | None] | None:
    name, _, filter_name = task.primary_metric.partition(",")
    if name not in _JUDGED:
        return None
    rows = run.of(task)
    found = [_shares(row, filter_name) for row in rows]
    if not rows or not all(found):
        return None
    shares = [one for one in found if one is not None]
    return reliability(shares), positions(
        (row, pick) for row, (pick, _, _) in zip(rows, shares, strict=True)
    )


def _shares(row: Row, filter_name: str) -> tuple[int, float, bool] | None:
    """Return which choice is taken, how probable it is, and whether it is right."""
    likelihoods = choice_likelihoods(row.filtered.get(filter_name))
    if not likelihoods or len(likelihoods) != len(row.continuations):
        return None
    right = named_right(row, len(likelihoods))
    if len(right) != 1 or not all(map(math.isfinite, likelihoods)):
        return None
    best = max(likelihoods)
    pick = likelihoods.index(best)
    return pick, 1 / math.fsum(math.exp(one - best) for one in likelihoods), pick in right


def reliability(shares: Sequence[tuple[int, float, bool]]) -> Reliability:
    """Return how sure and how right an arm is.

    Args:
        shares: Of each row the choice that is taken, its probability, and whether it is right.
    """
    sorted_in: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for _, share, right in shares:
        # The bins are (0, 0.1], (0.1, 0.2], …: a probability of 1 lies in the last one.
        sorted_in[min(max(math.ceil(share * BINS) - 1, 0), BINS - 1)].append((share, right))
    bins = tuple(_bin(sorted_in[number]) for number in range(BINS))
    count = len(shares)
    return Reliability(
        rows=count,
        confidence=math.fsum(share for _, share, _ in shares) / count,
        right=sum(right for _, _, right in shares) / count,
        error=math.fsum(one.rows * abs(one.right - one.confidence) for one in bins) / count,
        bins=bins,
    )


def _bin(rows: Sequence[tuple[float, bool]]) -> ReliabilityBin:
    count = len(rows)
    if not count:
        return ReliabilityBin(rows=0, confidence=0, right=0)
    return ReliabilityBin(
        rows=count,
        confidence=math.fsum(share for share, _ in rows) / count,
        right=sum(right for _, right in rows) / count,
    )


def positions(picks: Iterable[tuple[Row, int]]) -> Positions | None:
    """Return what is made of pairs that were shown in both orders; none if there are none.

    Args:
        picks: Rows with the number of the choice that is taken: the answer shown first, the one
            shown second, or neither.
    """
    pairs: dict[tuple[object, ...], dict[str, int]] = defaultdict(dict)
    taken = [0, 0]
    for row, pick in picks:
        if (order := row.doc.get("order")) not in _ORDERS:
            return None
        pairs[_pair(row.doc)][str(order)] = pick
        if pick in (_FIRST, _SECOND):
            taken[pick] += 1
    whole = [found for found in pairs.values() if len(found) == len(_ORDERS)]
    if not whole:
        return None
    mirrored = {_FIRST: _SECOND, _SECOND: _FIRST}
    return Positions(
        pairs=len(whole),
        agree=sum(one["ab"] == mirrored.get(one["ba"], one["ba"]) for one in whole),
        first=taken[_FIRST],
        second=taken[_SECOND],
    )


def _pair(doc: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(doc.get(name) for name in ("question", "response_a", "response_b"))
