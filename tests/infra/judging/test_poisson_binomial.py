"""Limits of a number of events that each have a chance of their own."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from scipy.stats import binom

from infra.judging.statistics import poisson_binomial_limits


def enumerated(chances: list[float]) -> list[float]:
    """Return the chance of each number of events, of all ways in which they can come."""
    found = [0.0] * (len(chances) + 1)
    for happened in itertools.product((False, True), repeat=len(chances)):
        ways = zip(chances, happened, strict=True)
        found[sum(happened)] += math.prod(p if one else 1 - p for p, one in ways)
    return found


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 11])
def test_as_all_ways_have_it(count: int, confidence: float) -> None:
    chance = random.Random(count)
    chances = [chance.random() for _ in range(count)]
    below, tail = [*itertools.accumulate(enumerated(chances))], (1 - confidence) / 2
    expected = tuple(next(k for k, at in enumerate(below) if at >= end) for end in (tail, 1 - tail))
    assert poisson_binomial_limits(chances, confidence) == expected


def test_with_one_chance_it_is_the_binomial() -> None:
    low, high = poisson_binomial_limits([0.07] * 2_000, 0.95)
    assert (low, high) == (binom(2_000, 0.07).ppf(0.025), binom(2_000, 0.07).ppf(0.975))


@pytest.mark.parametrize(("chances", "limits"), [
    ([], (0, 0)), ([0.0] * 5, (0, 0)), ([1.0] * 5, (5, 5)), ([1.0, 0.0, 1.0], (2, 2)),
])  # fmt: skip
def test_what_is_certain(chances: list[float], limits: tuple[int, int]) -> None:
    assert poisson_binomial_limits(chances, 0.95) == limits
