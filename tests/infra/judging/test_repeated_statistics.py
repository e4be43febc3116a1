"""What questions show that are asked several times, against other ways to compute it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from infra.judging.statistics import (
    BY_QUESTION,
    CLUSTERED,
    QUESTIONS,
    REPEATED,
    clustered_mean,
    correlation,
    effect_of,
    effective_rows,
    paired_amounts,
    question_limits,
    repeated_effect,
)

Rng = np.random.Generator


def drawn(rng: Rng, questions: int, times: int, loss: float = 0.0) -> tuple[list, list]:
    right = rng.beta(0.6, 0.3, questions)
    one = rng.random((questions, times)) < right[:, None]
    other = rng.random((questions, times)) < np.maximum(right - loss, 0)[:, None]
    return one.astype(float).tolist(), other.astype(float).tolist()


@pytest.mark.parametrize(("lost", "count"), [(0, 20), (3, 20), (20, 20), (17, 400)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_where_questions_only_lose_limits_are_wilsons(
    lost: int, count: int, confidence: float
) -> None:
    low, _ = question_limits([-1.0] * lost + [0.0] * (count - lost), confidence)
    _, high = proportion_confint(lost, count, 1 - confidence, method="wilson")
    assert low == pytest.approx(-high, abs=1e-9)


def test_limits_are_where_the_score_says(rng_seed: int = 3) -> None:
    """By the distribution itself: the questions that are seen, and some that lose all."""
    rng = np.random.default_rng(rng_seed)
    one, other = drawn(rng, 70, 4)
    seen = np.subtract(other, one).mean(axis=1)
    low, high = question_limits(seen.tolist(), 0.95)
    for limit, side in ((low, seen), (-high, -seen)):
        share = (side.mean() - limit) / (1 + side.mean())
        values = np.append(side, -1.0)
        weights = np.append(np.full(len(side), (1 - share) / len(side)), share)
        mean = (weights * values).sum()
        assert mean == pytest.approx(limit, abs=1e-9)
        spread = (weights * (values - mean) ** 2).sum()
        z = stats.norm.isf(0.025)
        assert side.mean() - limit == pytest.approx(z * math.sqrt(spread / len(side)), abs=1e-9)


def test_limits_turn_with_the_arms() -> None:
    one, other = drawn(np.random.default_rng(1), 50, 3, 0.1)
    there, back = (repeated_effect(*arms, 0.95) for arms in ((one, other), (other, one)))
    assert there is not None
    assert back is not None
    assert there.limits == pytest.approx((-back.limits[1], -back.limits[0]), abs=1e-12)
    assert there.limits[0] < there.bounds[0] < there.difference < there.bounds[1]
    assert there.method == QUESTIONS


def test_repeats_buy_something_and_more_questions_buy_more() -> None:
    """Mean widths over draws of the same questions' worth."""
    rng = np.random.default_rng(5)

    def width(questions: int, times: int) -> float:
        found = []
        for _ in range(40):
            effect = repeated_effect(*drawn(rng, questions, times), 0.95)
            assert effect is not None
            found.append(effect.limits[1] - effect.limits[0])
        return float(np.mean(found))

    assert width(100, 8) < 0.8 * width(100, 2)
    assert width(400, 2) < width(100, 8)


def test_they_are_narrower_than_amounts_and_wider_than_the_spread_that_is_seen() -> None:
    one, other = drawn(np.random.default_rng(7), 200, 8, 0.02)
    effect = repeated_effect(one, other, 0.95)
    assert effect is not None
    differences = np.subtract(other, one).mean(axis=1).tolist()
    amounts = paired_amounts(differences, 0.95)
    seen = clustered_mean(differences, list(range(200)), 0.95)
    assert amounts[0] < effect.limits[0] < seen[0]
    assert amounts[1] > effect.limits[1] > seen[1]


def test_a_question_is_a_row() -> None:
    one, other = drawn(np.random.default_rng(2), 40, 5)
    effect = repeated_effect(one, other, 0.95)
    assert effect is not None
    assert effect.rows == 40
    assert effect.flips == pytest.approx(np.not_equal(one, other).sum() / 5)
    assert effect.difference == pytest.approx(np.mean(other) - np.mean(one), abs=1e-12)
    again = repeated_effect([[*a, *a] for a in one], [[*b, *b] for b in other], 0.95)
    assert again is not None
    # The same answers once more show nothing.
    assert again.limits == pytest.approx(effect.limits, abs=1e-12)
    assert again.p_value == effect.p_value


def test_the_test_of_no_difference_swaps_whole_questions() -> None:
    """Every way to swap, counted."""
    one = [[1.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [1.0, 1.0], [0.0, 1.0]]
    other = [[0.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    effect = repeated_effect(one, other, 0.95)
    assert effect is not None
    steps = np.subtract(other, one).mean(axis=1)
    seen = abs(steps.sum())
    swaps = [np.dot(signs, steps) for signs in itertools.product((-1, 1), repeat=len(steps))]
    exact = np.mean([abs(each) >= seen - 1e-9 for each in swaps])
    assert effect.p_value == pytest.approx(exact, abs=0.02)


def test_shares_have_limits_and_no_test_of_their_own() -> None:
    one, other = [[0.5, 0.25]] * 20, [[0.5, 0.5]] * 10 + [[0.25, 0.0]] * 10
    effect = repeated_effect(one, other, 0.95)
    assert effect is not None
    assert (effect.method, effect.p_value) == (QUESTIONS, None)


def test_amounts_without_bounds_are_resampled_by_question() -> None:
    rng = np.random.default_rng(4)
    one = rng.gamma(4.0, 1.0, (60, 3))
    other = one + rng.normal(0.1, 0.2, (60, 1)) + rng.normal(0, 0.1, (60, 3))
    effect = repeated_effect(one.tolist(), other.tolist(), 0.95)
    means = effect_of(one.mean(axis=1).tolist(), other.mean(axis=1).tolist(), 0.95)
    assert effect is not None
    assert means is not None
    assert effect.limits == pytest.approx(means.limits, abs=1e-12)
    assert effect.method.endswith(BY_QUESTION)


def test_subjects_and_questions_that_come_again_only_widen() -> None:
    one, other = drawn(np.random.default_rng(9), 60, 4, 0.05)
    alone = repeated_effect(one, other, 0.95)
    subjects = [f"s{n % 12}" for n in range(60)]
    questions = [f"q{n // 2}" for n in range(60)]
    both = repeated_effect(one, other, 0.95, subjects, questions)
    assert alone is not None
    assert both is not None
    assert both.clusters == 12
    assert CLUSTERED in both.method
    assert REPEATED in both.method
    assert both.limits[0] <= alone.limits[0] < alone.limits[1] <= both.limits[1]


def test_the_correlation_is_that_of_an_analysis_of_variance() -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(0, 1, (30, 1)) + rng.normal(0, 1.5, (30, 5))
    f = stats.f_oneway(*values).statistic
    assert correlation(values.tolist()) == pytest.approx((f - 1) / (f + 4), abs=1e-9)


@pytest.mark.parametrize(
    ("values", "alike"),
    [
        ([[1, 1], [0, 0], [-1, -1]], 1.0), ([[1, -1], [-1, 1], [1, -1]], 0.0),
        ([[0, 0], [0, 0]], None), ([[1, 0]], None), ([[1], [0]], None),
    ],
)  # fmt: skip
def test_correlations_at_the_ends(values: list[list[float]], alike: float | None) -> None:
    assert correlation(values) == alike


def test_what_repeats_are_worth() -> None:
    assert effective_rows(60, 4, 0.0) == 240
    assert effective_rows(60, 4, 1.0) == 60
    assert effective_rows(60, 4, 0.5) == pytest.approx(96)
