"""The intervals are those of the books, and stay honest where data are thin."""

from __future__ import annotations

import math
import random

import pytest
from statsmodels.stats.multitest import multipletests

from infra.judging.statistics import (
    AMOUNTS,
    BOOTSTRAP,
    CLUSTERED,
    REPEATED,
    TANGO,
    Effect,
    PairedCounts,
    binary_effect,
    clustered_mean,
    effect_of,
    exact_mcnemar,
    holm,
    paired_amounts,
    paired_means,
    paired_power,
    paired_proportions,
    pooled_difference,
    pooled_limits,
    rows_for_drop,
    rows_for_margin,
    smallest_drop,
    smallest_margin,
)

PUBLISHED = [
    # Tango (1998), both of his examples, the second at 90 %.
    ((4, 9, 3, 16), 0.95, (-0.027, 0.390), 5e-4),
    ((43, 0, 1, 0), 0.90, (-0.096, 0.037), 5e-4),
    # Agresti & Min (2005), and Tang et al. (2010), as quoted by the tests of the R package ratesci.
    ((53, 16, 8, 9), 0.95, (-0.020, 0.207), 5e-4),
    ((8, 3, 1, 2), 0.95, (-0.1670, 0.4327), 5e-5),
    # Fagerland, Lydersen & Laake (2014), Table V: airway hyper-responsiveness (Bentur 2009).
    ((1, 1, 7, 12), 0.95, (-0.517, -0.026), 5e-4),
    # Fagerland, Lydersen & Laake (2017), chapter 8: response to consolidation (Cavo 2012).
    ((59, 6, 16, 80), 0.95, (-0.1240, -0.0054), 5e-5),
]


@pytest.mark.parametrize(("cells", "confidence", "interval", "rounding"), PUBLISHED)
def test_published_intervals(
    cells: tuple[int, int, int, int],
    confidence: float,
    interval: tuple[float, float],
    rounding: float,
) -> None:
    found = paired_proportions(PairedCounts(*cells), confidence)
    assert found == pytest.approx(interval, abs=rounding)


@pytest.mark.parametrize(("cells", "p"), [
    ((20, 12, 2, 16), 0.0129),  # StatsDirect's worked example, from Armitage & Berry (1994) p. 127
    ((1, 1, 7, 12), 0.070),  # Fagerland, Lydersen & Laake (2014), the same children
])  # fmt: skip
def test_published_p_values(cells: tuple[int, int, int, int], p: float) -> None:
    assert exact_mcnemar(PairedCounts(*cells)) == pytest.approx(p, abs=5e-4)


@pytest.mark.parametrize("cells", [(90, 3, 11, 40), (700, 30, 61, 209), (5, 0, 4, 1)])
def test_equal_to_statsmodels(cells: tuple[int, int, int, int]) -> None:
    from statsmodels.stats.contingency_tables import mcnemar

    counts = PairedCounts(*cells)
    table = [[counts.both, counts.first_only], [counts.second_only, counts.neither]]
    exact = mcnemar(table, exact=True).pvalue
    assert exact_mcnemar(counts) == pytest.approx(exact, abs=1e-12)
    # The interval that just touches zero has McNemar's p-value, the asymptotic one.
    p = mcnemar(table, exact=False, correction=False).pvalue
    assert paired_proportions(counts, 1 - p)[1] == pytest.approx(0.0, abs=1e-9)


def test_without_flips_the_interval_is_exact() -> None:
    """The score is then n D / (1 - D): its limits are z^2 / (n + z^2) to both sides."""
    from scipy.stats import norm

    square = norm.isf(0.025) ** 2
    found = paired_proportions(PairedCounts(300, 0, 0, 100))
    assert found == pytest.approx((-square / (400 + square), square / (400 + square)), abs=1e-9)


@pytest.mark.parametrize("cells", [(400, 0, 0, 0), (0, 0, 0, 400), (90, 0, 0, 310), (1, 0, 0, 0)])
def test_rows_that_all_agree_leave_some_doubt(cells: tuple[int, int, int, int]) -> None:
    counts = PairedCounts(*cells)
    low, high = paired_proportions(counts)
    assert -1 <= low < 0 < high <= 1
    assert low == pytest.approx(-high)
    assert exact_mcnemar(counts) == 1.0


def test_one_row_shows_next_to_nothing() -> None:
    low, high = paired_proportions(PairedCounts(0, 0, 1, 0))
    assert low == -1.0
    assert high > -0.5


def test_no_row_no_interval() -> None:
    with pytest.raises(ValueError, match="no rows"):
        paired_proportions(PairedCounts(0, 0, 0, 0))


def test_arms_swapped_swap_the_interval() -> None:
    low, high = paired_proportions(PairedCounts(120, 9, 31, 40))
    assert paired_proportions(PairedCounts(120, 31, 9, 40)) == pytest.approx((-high, -low))


def test_pairing_narrows() -> None:
    """The same two accuracies: few rows flip in the first table, many in the second."""
    few = paired_proportions(PairedCounts(100, 5, 15, 80))
    many = paired_proportions(PairedCounts(60, 45, 55, 40))
    assert few[1] < 0 < many[1]


def test_less_confidence_is_narrower() -> None:
    counts = PairedCounts(100, 5, 15, 80)
    wide, narrow = paired_proportions(counts, 0.99), paired_proportions(counts, 0.8)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.mark.parametrize("confidence", [0.95, 0.9])
def test_means_are_scipys_bootstrap(confidence: float) -> None:
    import numpy as np
    from scipy.stats import bootstrap

    chance = random.Random(7)
    differences = [chance.gauss(-0.1, 0.4) for _ in range(150)]
    expected = bootstrap(
        (np.array(differences),), np.mean, confidence_level=confidence, n_resamples=9_999,
        batch=100, method="BCa", rng=np.random.default_rng(1987),
    ).confidence_interval  # fmt: skip
    found = paired_means(differences, confidence)
    assert found == pytest.approx((expected.low, expected.high), rel=1e-12)  # the seed is fixed
    assert found is not None
    assert found[0] < sum(differences) / 150 < found[1]


@pytest.mark.parametrize("differences", [[], [0.3], [0.1, 0.4, 0.2], [0.0] * 50, [0.25] * 50])
def test_means_without_a_basis_have_no_interval(differences: list[float]) -> None:
    assert paired_means(differences) is None


def test_holms_adjustment() -> None:
    # `p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")` in R.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=1e-12)
    assert holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert holm([]) == []
    chance = random.Random(7)
    for tests in range(1, 30):
        p_values = [chance.choice([chance.random() ** 4, 0.0, 0.05, 1.0]) for _ in range(tests)]
        assert holm(p_values) == list(multipletests(p_values, method="holm")[1])


def _effect(counts: tuple[int, int, int, int], confidence: float = 0.95) -> Effect:
    return binary_effect(PairedCounts(*counts), confidence)


def _plain(rows: int, difference: float, low: float, high: float) -> Effect:
    return Effect(rows, 0, difference, (low, high), (low, high), "m", None)


def test_pooled_limits_recover_newcombes_difference() -> None:
    """Two proportions with Wilson limits, one of them turned: his method 10 for two samples."""
    from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

    one = _plain(80, 56 / 80, *proportion_confint(56, 80, method="wilson"))
    other = _plain(80, 48 / 80, *proportion_confint(48, 80, method="wilson")).mirrored()
    low, high = pooled_limits([one, other], lambda effect: effect.limits)
    expected = confint_proportions_2indep(56, 80, 48, 80, compare="diff", method="newcomb")
    assert (2 * low, 2 * high) == pytest.approx(expected, abs=1e-9)


def test_pooled_limits_are_the_normal_ones_of_normal_limits() -> None:
    """Symmetric limits of strata give the symmetric limits of the stratified mean."""
    rows, means, errors = (1319, 400, 448), (-0.02, 0.01, -0.03), (0.008, 0.015, 0.02)
    effects = [
        _plain(n, d, d - 1.96 * e, d + 1.96 * e)
        for n, d, e in zip(rows, means, errors, strict=True)
    ]
    mean = sum(n * d for n, d in zip(rows, means, strict=True)) / 2167
    error = math.sqrt(sum((n * e / 2167) ** 2 for n, e in zip(rows, errors, strict=True)))
    assert pooled_difference(effects) == pytest.approx(mean, abs=1e-12)
    assert pooled_limits(effects, lambda effect: effect.limits) == pytest.approx(
        (mean - 1.96 * error, mean + 1.96 * error), abs=1e-12
    )


def test_pooling_one_task_changes_nothing_and_three_narrow() -> None:
    effect = _effect((1000, 51, 68, 200))
    low, high = pooled_limits([effect], lambda effect: effect.limits)
    assert (low, high) == pytest.approx(effect.limits, abs=1e-12)
    narrow = pooled_limits([effect] * 3, lambda effect: effect.limits)
    assert narrow[1] - narrow[0] == pytest.approx((high - low) / math.sqrt(3), abs=1e-12)


def test_the_same_questions_thrice_are_no_more_evidence() -> None:
    effect = _effect((1000, 51, 68, 200))
    overlap = {(0, 1): 1.0, (0, 2): 1.0, (1, 2): 1.0}
    assert pooled_limits([effect] * 3, lambda e: e.limits, overlap) == pytest.approx(effect.limits)


def test_one_sided_bounds_lie_inside_and_a_mirror_swaps_them() -> None:
    effect = _effect((1000, 51, 68, 200))
    assert effect.difference == -17 / 1319
    assert effect.limits[0] < effect.bounds[0] < effect.difference
    assert effect.bounds == pytest.approx(
        paired_proportions(PairedCounts(1000, 51, 68, 200), 0.9), abs=1e-12
    )
    mirrored = effect.mirrored()
    assert mirrored.limits == (-effect.limits[1], -effect.limits[0])
    assert mirrored.bounds == (-effect.bounds[1], -effect.bounds[0])


def test_clusters_by_the_sandwich_formula() -> None:
    """Liang & Zeger's variance of a mean, with the factor G/(G-1) and t limits."""
    from scipy.stats import t

    chance = random.Random(3)
    subjects = [n % 12 for n in range(240)]
    values = [chance.gauss(0.1 * (subject - 6), 1.0) for subject in subjects]
    mean = sum(values) / 240
    sums = [
        sum(v - mean for v, s in zip(values, subjects, strict=True) if s == g) for g in range(12)
    ]
    error = math.sqrt(12 / 11 * sum(x * x for x in sums)) / 240
    reach = t.ppf(0.975, 11) * error
    assert clustered_mean(values, subjects, 0.95) == pytest.approx(
        (mean - reach, mean + reach), abs=1e-9
    )


def test_subjects_that_suffer_together_widen() -> None:
    baseline = [1.0] * 400
    together = [0.0 if n // 20 in (3, 7) else 1.0 for n in range(400)]
    subjects = [str(n // 20) for n in range(400)]
    alone = effect_of(baseline, together, 0.95)
    clustered = effect_of(baseline, together, 0.95, subjects)
    assert alone is not None
    assert clustered is not None
    assert (alone.clusters, clustered.clusters) == (None, 20)
    assert clustered.limits[0] < alone.limits[0]
    assert clustered.limits[1] > 0 > alone.limits[1]
    assert clustered.bounds[0] < alone.bounds[0]
    assert CLUSTERED in clustered.method


def test_clustering_never_narrows() -> None:
    """Losses spread evenly over subjects look surer than independent rows can be."""
    baseline, other = [1.0] * 400, [float(n % 20 != 0) for n in range(400)]
    subjects = [str(n // 20) for n in range(400)]
    assert clustered_mean(
        [o - b for b, o in zip(baseline, other, strict=True)], subjects, 0.95
    ) == (pytest.approx((-0.05, -0.05)))
    alone, clustered = effect_of(baseline, other, 0.95), effect_of(baseline, other, 0.95, subjects)
    assert alone is not None
    assert clustered is not None
    assert clustered.limits == alone.limits


def test_few_subjects_are_not_clustered() -> None:
    effect = effect_of(
        [1.0] * 90, [float(n % 9 > 0) for n in range(90)], 0.95, list("abcdefghi") * 10
    )
    assert effect is not None
    assert (effect.clusters, effect.method) == (None, TANGO)


def test_questions_that_come_again_are_no_news() -> None:
    """Two rows of one question, which always fare alike, say what one of them says."""
    baseline, other = [1.0] * 300, [float(n % 15 != 0) for n in range(300)]
    questions = [str(n) for n in range(300)]
    once = effect_of(baseline, other, 0.95, questions=questions)
    twice = effect_of(baseline * 2, other * 2, 0.95, questions=questions * 2)
    blind = effect_of(baseline * 2, other * 2, 0.95)
    assert once is not None
    assert twice is not None
    assert blind is not None
    assert once.method == TANGO
    assert REPEATED in twice.method
    assert twice.limits[0] == pytest.approx(once.limits[0], abs=0.006)
    assert twice.limits[0] < blind.limits[0]
    assert twice.bounds[0] == pytest.approx(once.bounds[0], abs=0.006)
    assert twice.bounds[0] < blind.bounds[0]
    few = effect_of(baseline, other, 0.95, questions=[*questions[:-2], "0", "1"])
    assert few is not None
    assert few.limits == once.limits


def test_shares_that_do_not_change_have_limits_too() -> None:
    baseline = [0.5, 0.25, 1.0] * 40
    effect = effect_of(baseline, baseline, 0.95)
    assert effect is not None
    assert (effect.difference, effect.flips, effect.method) == (0.0, 0, AMOUNTS)
    assert effect.limits[0] == -effect.limits[1] < 0
    assert effect_of([1.5, *baseline], [1.5, *baseline], 0.95) is None  # on a scale without ends


@pytest.mark.parametrize("beyond", [1.5, -0.5])
def test_rows_on_a_scale_of_their_own_are_resampled(beyond: float) -> None:
    chance = random.Random(5)
    baseline = [beyond, *(chance.random() for _ in range(59))]
    other = [value - 0.2 * chance.random() for value in baseline]
    effect = effect_of(baseline, other, 0.9)
    assert effect is not None
    differences = [two - one for one, two in zip(baseline, other, strict=True)]
    assert effect.limits == paired_means(differences, 0.9)
    assert effect.bounds == paired_means(differences, 2 * 0.9 - 1)
    assert (effect.p_value, effect.method) == (None, BOOTSTRAP)


def test_rows_between_right_and_wrong_get_the_outer_ends_of_both() -> None:
    chance = random.Random(5)
    baseline = [chance.random() for _ in range(60)]
    other = [max(0.0, value - 0.2 * chance.random()) for value in baseline]
    effect = effect_of(baseline, other, 0.9)
    assert effect is not None
    differences = [two - one for one, two in zip(baseline, other, strict=True)]
    for found, confidence in ((effect.limits, 0.9), (effect.bounds, 2 * 0.9 - 1)):
        resampled = paired_means(differences, confidence)
        scored = paired_amounts(differences, confidence)
        assert resampled is not None
        assert found == (min(resampled[0], scored[0]), max(resampled[1], scored[1]))
    assert effect.p_value is None
    assert effect.method == f"{BOOTSTRAP}; {AMOUNTS}"


def test_amounts_of_whole_rows_are_counts() -> None:
    differences = [1.0] * 9 + [-1.0] * 31 + [0.0] * 160
    counts = PairedCounts(120, 9, 31, 40)
    assert paired_amounts(differences) == pytest.approx(paired_proportions(counts), abs=1e-12)
    halves = [0.5] * 18 + [-0.5] * 62 + [0.0] * 120
    assert paired_amounts(halves) == pytest.approx(paired_proportions(counts), abs=1e-12)


@pytest.mark.parametrize("differences", [
    [-1.0] * 30, [-1.0 + 1e-12] * 30, [1.0] * 30, [1.0 - 1e-12] * 30, [1e-12] * 30,
    [-0.1, 0.1], [0.0] * 30,
])  # fmt: skip
def test_amounts_at_the_ends_of_the_scale(differences: list[float]) -> None:
    low, high = paired_amounts(differences)
    mean = sum(differences) / len(differences)
    assert -1 <= low <= mean + 1e-9
    assert mean - 1e-9 <= high <= 1
    assert low < high


@pytest.mark.parametrize("rest", [
    [(1.0, 0.9)],  # one row that is neither right nor wrong
    [(0.5, 0.51)] * 60,  # many that gained a little, and none that lost
])  # fmt: skip
def test_what_was_not_seen_is_not_excluded(rest: list[tuple[float, float]]) -> None:
    """Of 100 rows of which 3 % are lost, none is among them 5 times in 100."""
    baseline, other = zip(*rest, *[(1.0, 1.0)] * (100 - len(rest)), strict=True)
    differences = [two - one for one, two in zip(baseline, other, strict=True)]
    resampled, effect = paired_means(differences, 0.9), effect_of(baseline, other, 0.95)
    assert resampled is not None
    assert effect is not None
    assert resampled[0] > -0.02
    assert effect.bounds[0] < -0.02


def test_a_loss_of_the_margin_does_not_pass_beside_a_row_at_one_half() -> None:
    """Of 100 rows of which 1 % are lost, none is 37 times in 100: nothing to resample."""
    chance = random.Random(11)
    baseline, resampled, passed = [0.5, *[1.0] * 99], 0, 0
    for _ in range(60):
        other = [0.6, *(float(chance.random() >= 0.01) for _ in range(99))]
        differences = [two - one for one, two in zip(baseline, other, strict=True)]
        alone, effect = paired_means(differences, 0.9), effect_of(baseline, other, 0.95)
        resampled += alone is not None and alone[0] > -0.01
        passed += effect is not None and effect.bounds[0] > -0.01
    assert resampled > 12
    assert passed == 0


@pytest.mark.parametrize(("rows", "points"), [(1319, 2.4), (400, 4.4)])
def test_what_common_tasks_can_show(rows: int, points: float) -> None:
    """gsm8k and Global-MMLU-Lite at a flip rate of 10 %, 80 % power, two-sided 5 %."""
    assert round(100 * smallest_drop(rows, 0.1, 0.8, 0.05), 1) == points


def test_published_sample_size() -> None:
    """Chow, Shao & Wang (2008), section 6.4.3: p10 = 0.2, p01 = 0.5, 80 % power take 59 pairs."""
    assert rows_for_drop(0.3, 0.7, 0.8, 0.05) == 59
    assert paired_power(58, 0.7, 0.3, 0.05) < 0.8 < paired_power(59, 0.7, 0.3, 0.05)


@pytest.mark.parametrize("rows", [200, 1319, 14_042])
@pytest.mark.parametrize("flip_rate", [0.02, 0.1, 0.3])
def test_plans_invert_each_other(rows: int, flip_rate: float) -> None:
    drop = smallest_drop(rows, flip_rate, 0.8, 0.05)
    assert paired_power(rows, max(flip_rate, drop), drop, 0.05) == pytest.approx(0.8, abs=1e-9)
    assert abs(rows_for_drop(drop, flip_rate, 0.8, 0.05) - rows) <= 1
    margin = smallest_margin(rows, flip_rate, 0.8, 0.95)
    # (1.644854 + 0.841621) sqrt(psi / n)
    assert margin == pytest.approx(2.486475 * math.sqrt(flip_rate / rows), abs=1e-6)
    assert abs(rows_for_margin(margin, flip_rate, 0.8, 0.95) - rows) <= 1


def test_plans_without_a_chance() -> None:
    assert smallest_drop(0, 0.1, 0.8, 0.05) == 1.0
    assert smallest_drop(3, 0.1, 0.8, 0.05) == 1.0  # even if all three are lost
    assert smallest_margin(0, 0.1, 0.8, 0.95) == 1.0
    assert 0.1 < smallest_drop(20, 0.1, 0.8, 0.05) < 0.5  # a loss beyond the flip rate raises it
    with pytest.raises(ValueError, match=r"allows no loss of 0\.2"):
        paired_power(100, 0.1, 0.2, 0.05)
