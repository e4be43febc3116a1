"""What guessing scores, and how much of a score is left after quantization.

At four choices a model that knows nothing scores 25 %. Quantized over base therefore flatters a
broken model: 30 of 60 % reads as half, though only a seventh of the knowledge is left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from infra.pairing import Row, choice_likelihoods

_ACCURACY = ("acc", "acc_norm", "acc_bytes")


def chance_of(metric: str, rows: Sequence[Row]) -> float | None:
    """Return what guessing scores: the mean of one over the number of choices.

    A written answer that has to match to the letter is not found by guessing: its chance counts as
    zero.

    Args:
        metric: `<metric>,<filter>`.
        rows: Rows of one arm, at least one.

    Returns:
        A share of the rows; none for metrics of which that is not known.
    """
    name, _, filter_name = metric.partition(",")
    if name == "exact_match":
        return 0.0
    if name not in _ACCURACY:
        return None
    choices = [choice_likelihoods(row.filtered.get(filter_name)) for row in rows]
    if not all(choices):
        return None
    return math.fsum(1 / len(found) for found in choices if found) / len(rows)


def recovery(base: float, quantized: float, chance: float = 0.0) -> float | None:
    """Return which share of the base model's score the quantized model has, both above chance.

    Args:
        base: Score of the base arm.
        quantized: Score of the quantized arm.
        chance: What guessing scores.

    Returns:
        The share, below zero for a model worse than guessing; none if base is no better than that.
    """
    return (quantized - chance) / (base - chance) if base > chance else None
