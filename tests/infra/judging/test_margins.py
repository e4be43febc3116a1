"""Metrics without points are held against a margin of their own, in their own unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from lm_eval.api import metrics as lm_eval
from scipy import stats

from infra.contracts.records import Comparison, MetricComparison, MetricValue, Pooled, Verdict
from infra.contracts.specs import VerdictSpec
from infra.judging.comparison import compare, decisive
from infra.judging.corpus import aggregation_of, corpus_effect
from infra.judging.family import together
from infra.judging.pairing import RowPair, RunRows
from infra.judging.statistics import (
    CORPUS,
    mean_of,
    paired_totals,
    randomization_test,
    rows_for_room,
)
from infra.judging.verdict import decide
from tests.infra.made_margins import METRIC, TASK, arms_of, make_wikitext
from tests.simulate_own_margins import own_margins
from tests.simulate_verdict import most

# The test


def _p(differences: Any) -> float:
    column = np.asarray(differences, dtype=float)[:, None]
    return randomization_test(np.zeros_like(column), column, mean_of(len(column)))


def test_without_a_difference_p_values_are_uniform() -> None:
    rng, repeats = np.random.default_rng(5), 400
    found = np.array([_p(rng.standard_t(3, 25)) for _ in range(repeats)])
    for level in (0.05, 0.25, 0.5, 0.75):
        assert (found <= level).mean() <= most(level, repeats)
        assert (found > level).mean() <= most(1 - level, repeats)


def test_an_effect_is_found_as_often_as_a_t_test_finds_it() -> None:
    rng, repeats = np.random.default_rng(6), 200
    drawn = rng.normal(0.5, 1.0, (repeats, 30))
    found = np.mean([_p(one) <= 0.05 for one in drawn])
    assert found == pytest.approx((stats.ttest_1samp(drawn, 0, axis=1).pvalue <= 0.05).mean(),
                                  abs=0.03)  # fmt: skip
    assert found > 0.6


def test_p_is_that_of_scipy_and_the_same_every_time() -> None:
    rng = np.random.default_rng(7)
    one, other = rng.gamma(2.0, 1.0, 40), rng.gamma(2.0, 1.0, 40) + 0.3

    def gap(a: Any, b: Any, axis: int) -> Any:
        return np.mean(b, axis) - np.mean(a, axis)

    wanted = stats.permutation_test(
        (one, other), gap, permutation_type="samples", n_resamples=50_000, rng=1
    ).pvalue
    found = randomization_test(one[:, None], other[:, None], mean_of(40))
    assert found == pytest.approx(wanted, abs=0.015)
    assert found == randomization_test(one[:, None], other[:, None], mean_of(40))
    assert found == pytest.approx(randomization_test(other[:, None], one[:, None], mean_of(40)),
                                  abs=0.02)  # fmt: skip


def test_no_p_is_zero_and_no_difference_is_one() -> None:
    assert _p([1.0 + n / 100 for n in range(60)]) == 1 / 10_000
    assert _p([0.0] * 60) == 1.0
    # Of four rows alike, 2 of 16 ways to swap them are as far from zero.
    assert _p([1.0] * 4) == pytest.approx(2 / 16, abs=0.01)


# Scores that are made of all rows


def test_limits_are_those_of_scipys_bootstrap() -> None:
    rng = np.random.default_rng(8)
    one = np.stack([rng.normal(-300, 40, 50), rng.integers(60, 140, 50)], axis=1).astype(float)
    other = one + np.stack([rng.normal(-2, 5, 50), np.zeros(50)], axis=1)
    score = aggregation_of(METRIC).score  # type: ignore[union-attr]

    def gap(rows: Any, axis: int = -1) -> Any:
        return score(other[rows].sum(axis=-2)) - score(one[rows].sum(axis=-2))

    wanted = stats.bootstrap((np.arange(50),), gap, vectorized=True, n_resamples=9_999,
                             method="BCa", rng=np.random.default_rng(1937))  # fmt: skip
    found = paired_totals(one, other, score, [0.95, 0.9])
    assert found is not None
    assert found[0] == pytest.approx(tuple(wanted.confidence_interval), rel=1e-6)
    assert found[0][0] < found[1][0] < found[1][1] < found[0][1]


TEXTS = [
    ["the cat sat on the mat today", "the cat sat on a mat today"],
    ["we went home by the old road", "we went home on the old road"],
    ["it rained all day in the north", "it was raining all day up north"],
]
WEIGHTED = [[-30.5, 11], [-200.25, 60], [-7.0, 2]]


@pytest.mark.parametrize(("metric", "function", "rows"), [
    ("word_perplexity", lm_eval.weighted_perplexity, WEIGHTED),
    ("byte_perplexity", lm_eval.weighted_perplexity, WEIGHTED),
    ("bits_per_byte", lm_eval.bits_per_byte, WEIGHTED),
    ("perplexity", lm_eval.perplexity, [-2.5, -0.25, -7.0]),
    ("bleu", lm_eval.bleu, TEXTS),
    ("bleu", lm_eval.bleu, [["none of this is there", "quite another text altogether"]]),
    ("ter", lm_eval.ter, TEXTS),
])  # fmt: skip
def test_scores_are_lm_evals(metric: str, function: Any, rows: list[Any]) -> None:
    made = aggregation_of(f"{metric},none")
    assert made is not None
    parts = np.array([made.parts(row) for row in rows], dtype=float)
    assert float(made.score(parts.sum(axis=0))) == pytest.approx(function(rows), rel=1e-12)


def _pairs(rows: Sequence[Any], others: Sequence[Any]) -> Sequence[RowPair]:
    return cast(Sequence[RowPair], [
        SimpleNamespace(baseline=SimpleNamespace(metrics={METRIC: one}),
                        candidate=SimpleNamespace(metrics={METRIC: other}))
        for one, other in zip(rows, others, strict=True)
    ])  # fmt: skip


def _values(*rows: Sequence[Any]) -> tuple[MetricValue, MetricValue]:
    one, other = (
        MetricValue(value=lm_eval.weighted_perplexity(arm), stderr=None, n=len(arm),
                    higher_is_better=False, unit="value", aggregation="corpus")
        for arm in rows
    )  # fmt: skip
    return one, other


def test_a_score_that_does_not_follow_from_its_rows_has_no_interval() -> None:
    rows = [[-30.0 - n, 10 + n % 4] for n in range(20)]
    others = [[one - n % 3, words] for n, (one, words) in enumerate(rows)]
    values = _values(rows, others)
    found, method = corpus_effect(METRIC, values, _pairs(rows, others), 0.95)
    assert found is not None and method == CORPUS
    assert found.limits[0] < found.difference < found.limits[1]
    twice = values[0], values[1].model_copy(update={"value": 2 * values[1].value})
    for metric, both, other, why in (
        (METRIC, twice, others, "does not follow from its rows"),
        (METRIC, values, [None, *others[1:]], "do not hold what the score is made of"),
        ("mcc,none", values, others, "not the mean of its rows"),
        (METRIC, _values(rows, rows), rows, "too few rows differ"),
    ):
        found, method = corpus_effect(metric, both, _pairs(rows, other), 0.95)
        assert found is None and why in method


def test_questions_that_are_asked_again_are_drawn_whole() -> None:
    rows = [[-30.0 - n, 10 + n % 4] for n in range(20)]
    others = [[one - n % 3, words] for n, (one, words) in enumerate(rows)]
    values = _values(rows, others)
    once, _ = corpus_effect(METRIC, values, _pairs(rows, others), 0.95)
    asked = [[pair] * 3 for pair in _pairs(rows, others)]
    again, _ = corpus_effect(METRIC, values, [pair for one in asked for pair in one], 0.95, asked)
    assert once is not None and again is not None
    # The same answers once more show nothing.
    assert again.limits == pytest.approx(once.limits, rel=1e-9)
    assert (again.p_value, again.rows) == (once.p_value, 20)


# Comparing


def test_only_a_margin_gives_a_test_and_it_joins_those_of_all_tasks(tmp_path: Path) -> None:
    baseline, candidate = arms_of(make_wikitext(tmp_path, {}, worse=0.05))
    plain = compare(baseline, candidate, RunRows(tmp_path))
    assert (
        compare(baseline, candidate, RunRows(tmp_path), margins={"acc": 1.0, "nll": 2.0}) == plain
    )
    held = compare(baseline, candidate, RunRows(tmp_path), margins={"word_perplexity": 1.0})
    assert held == compare(
        baseline, candidate, RunRows(tmp_path), margins={f"{TASK}/word_perplexity": 1.0}
    )
    for one, other in zip(plain.metrics, held.metrics, strict=True):
        if one.task != TASK:
            assert one.model_copy(update={"p_adjusted": other.p_adjusted}) == other
    one, other = (next(m for m in found.metrics if m.task == TASK) for found in (plain, held))
    assert (one.p_value, one.low) == (None, None)
    assert (other.p_value, other.p_adjusted) == (0.0001, pytest.approx(0.0004))
    assert other.low is not None and 0 < other.low < other.difference
    assert plain.pooled == held.pooled
    many = together({"a": held, "b": held})["a"].metrics
    assert next(m for m in many if m.task == TASK).p_adjusted == pytest.approx(0.0008)


# The verdict


LESS = {"value": 20.0, "stderr": None, "n": 62, "higher_is_better": False, "unit": "value"}


def _metric(difference: float, low: float | None, high: float | None, **changes: Any
            ) -> MetricComparison:  # fmt: skip
    return MetricComparison.model_validate({
        "task": "wikitext", "metric": "word_perplexity,none", "baseline": LESS, "candidate": LESS,
        "unit": "value", "difference": difference, "low": low, "high": high, "confidence": 0.95,
        "method": "m", "p_value": 0.5, "p_adjusted": 1.0, "pairs": 62, "lost": 30, "gained": 32,
        "changed": 62, "primary": True, **changes,
    })  # fmt: skip


ACC = {"value": 0.5, "stderr": None, "n": 400}


def _points(difference: float, low: float, high: float, **changes: Any) -> MetricComparison:
    return _metric(difference, low, high, **{
        "task": "gsm8k", "metric": "acc,none", "baseline": ACC, "candidate": ACC, "pairs": 400,
        "unit": "points", **changes,
    })  # fmt: skip


SOUND = Pooled(
    tasks=("gsm8k",), rows=2167, flip_rate=0.098, difference=-0.003, low=-0.0078, high=0.0018,
    confidence=0.95, bound=-0.0071, method="m",
)  # fmt: skip
EVEN = _points(-0.001, -0.02, 0.018)
KEPT = _metric(0.05, -0.1, 0.21)
OPEN = _metric(0.05, -0.3, 0.4)
OPEN_AT_MARGIN = _metric(0.05, -0.2, 0.3)
LOST = _metric(0.41, 0.2, 0.62, p_adjusted=0.003)
BY_CHANCE = _metric(0.41, -0.1, 0.92, p_adjusted=0.2)
SILENT = _metric(0.05, None, None, p_value=None, p_adjusted=None)
UNTESTED = _metric(0.41, 0.2, 0.62, p_adjusted=0.06)


def _decide(
    pooled: Pooled | None, *metrics: MetricComparison, candidates: int = 1,
    margins: dict[str, float] | None = None, **options: Any,
) -> Verdict:  # fmt: skip
    comparison = Comparison(metrics=metrics, size_ratio=0.4, pooled=pooled)
    spec = VerdictSpec(margins={"word_perplexity": 0.3} if margins is None else margins)
    return decide(comparison, spec, what="4-bit AWQ", candidates=candidates, **options)


@pytest.mark.parametrize(("pooled", "metrics", "headline"), [
    (
        SOUND, [EVEN, KEPT],
        "PASS: 4-bit AWQ costs 0.3 points (95 % interval −0.8 to +0.2) over 2,167 rows; a loss of "
        "1 point or more is excluded; it keeps its margin of 0.3 in word_perplexity of wikitext.",
    ),
    (
        SOUND, [EVEN, OPEN],
        "INCONCLUSIVE: 4-bit AWQ costs 0.3 points (95 % interval −0.8 to +0.2) over 2,167 rows; "
        "but a loss of up to 0.400 in word_perplexity of wikitext (margin 0.3) is not excluded.",
    ),
    (
        SOUND, [EVEN, OPEN_AT_MARGIN],
        "INCONCLUSIVE: 4-bit AWQ costs 0.3 points (95 % interval −0.8 to +0.2) over 2,167 rows; "
        "but a loss of up to 0.300 in word_perplexity of wikitext (margin 0.3) is not excluded.",
    ),
    (
        SOUND, [EVEN, LOST],
        "FAIL: 4-bit AWQ costs 0.410 in word_perplexity of wikitext (95 % interval +0.200 to "
        "+0.620; margin 0.3); over all 2,167 rows it costs 0.3 points (95 % interval −0.8 to "
        "+0.2).",
    ),
    (
        SOUND, [EVEN, BY_CHANCE],
        "INCONCLUSIVE: 4-bit AWQ costs 0.3 points (95 % interval −0.8 to +0.2) over 2,167 rows; "
        "but wikitext lost 0.410 in word_perplexity (margin 0.3).",
    ),
    (
        SOUND, [EVEN, SILENT],
        "INCONCLUSIVE: 4-bit AWQ costs 0.3 points (95 % interval −0.8 to +0.2) over 2,167 rows; "
        "but the rows of wikitext give no interval.",
    ),
    # No task in points at all.
    (None, [KEPT], "PASS: 4-bit AWQ keeps its margin of 0.3 in word_perplexity of wikitext."),
    (
        None, [OPEN],
        "INCONCLUSIVE: a loss of up to 0.400 in word_perplexity of wikitext (margin 0.3) is not "
        "excluded.",
    ),
    (
        None, [LOST],
        "FAIL: 4-bit AWQ costs 0.410 in word_perplexity of wikitext (95 % interval +0.200 to "
        "+0.620; margin 0.3).",
    ),
    (None, [BY_CHANCE], "INCONCLUSIVE: wikitext lost 0.410 in word_perplexity (margin 0.3)."),
    (None, [SILENT], "INCONCLUSIVE: the rows of wikitext give no interval."),
    (
        None, [KEPT, _metric(0.1, -1.0, 2.0, task="wmt", metric="bleu,none")],
        "INCONCLUSIVE: some tasks have neither points nor a margin of their own.",
    ),
    (
        None, [KEPT, _metric(-0.3, -0.4, -0.2, task="wmt", metric="bleu,none")],
        "INCONCLUSIVE: some tasks have neither points nor a margin of their own.",
    ),
])  # fmt: skip
def test_headlines(pooled: Pooled | None, metrics: list[MetricComparison], headline: str) -> None:
    verdict = _decide(pooled, *metrics)
    assert verdict.headline == headline
    assert verdict.status == headline.partition(":")[0]
    assert bool(verdict.needed) == (verdict.status == "INCONCLUSIVE")


@pytest.mark.parametrize(("metric", "status"), [
    (KEPT, "PASS"), (OPEN, "INCONCLUSIVE"), (LOST, "FAIL"), (UNTESTED, "INCONCLUSIVE"),
    (_metric(0.2, 0.12, 0.28, p_adjusted=0.001), "PASS"),  # a loss that is shown, and within
    (_metric(0.3, 0.1, 0.5, p_adjusted=0.001), "INCONCLUSIVE"),  # exactly what is allowed
    (_metric(0.41, -0.01, 0.83, p_adjusted=0.001), "INCONCLUSIVE"),  # the interval holds zero
    (_metric(-0.41, -0.62, -0.2, p_adjusted=0.001), "PASS"),  # a gain: less is better
    (_metric(0.5, 0.4, 0.6, breach="so", p_adjusted=0.001), "INCONCLUSIVE"),
])  # fmt: skip
@pytest.mark.parametrize("pooled", [SOUND, None])
def test_verdicts(pooled: Pooled | None, metric: MetricComparison, status: str) -> None:
    assert _decide(pooled, *([EVEN] if pooled else []), metric).status == status
    assert _decide(pooled, metric, stopped_after=400).status == (
        "INCONCLUSIVE" if status == "FAIL" else status
    )


def test_more_may_be_better() -> None:
    more = {**LESS, "higher_is_better": True}
    up = {"baseline": more, "candidate": more, "metric": "bleu,none"}
    held = {"bleu": 0.3}
    assert _decide(None, _metric(-0.05, -0.21, 0.1, **up), margins=held).status == "PASS"
    lost = _metric(-0.41, -0.62, -0.2, p_adjusted=0.003, **up)
    assert _decide(None, lost, margins=held).status == "FAIL"


def test_the_margin_of_a_task_goes_first_and_stands_in_its_reasons() -> None:
    both = {"word_perplexity": 0.3, "wikitext/word_perplexity": 0.7}
    verdict = _decide(SOUND, EVEN, OPEN, margins=both)
    assert verdict.status == "PASS"
    assert verdict.reasons[1] == (
        "wikitext: the largest loss of word_perplexity that is not excluded is 0.400 (difference "
        "+0.050, 95 % interval −0.300 to +0.400), below its margin of 0.7."
    )
    other = OPEN.model_copy(update={"task": "pile"})
    assert _decide(SOUND, EVEN, other, margins=both).status == "INCONCLUSIVE"
    nats = {**LESS, "unit": "nats"}
    named = _metric(0.05, -0.1, 0.21, metric="nll,none", baseline=nats, candidate=nats)
    verdict = _decide(SOUND, EVEN, named, margins={"nll": 0.3})
    assert verdict.headline.endswith("it keeps its margin of 0.3 nats in nll of wikitext.")


def test_in_points_it_takes_the_place_of_that_of_all_tasks() -> None:
    lost = _points(-0.05, -0.07, -0.03, task="b", p_adjusted=0.003)
    assert _decide(SOUND, EVEN, lost, margins={}).status == "FAIL"
    loose = _decide(SOUND, EVEN, lost, margins={"b/acc": 6})
    assert loose.status == "PASS"
    assert "b changed by −5.0 points, and its margin is 6 points." in loose.reasons
    tight = _decide(SOUND, EVEN.model_copy(update={"difference": -0.025}), margins={"acc": 2})
    assert tight.status == "INCONCLUSIVE"
    assert tight.headline.endswith("but gsm8k lost 2.5 points (margin 2 points).")
    shown = _decide(SOUND, _points(-0.025, -0.04, -0.01, p_adjusted=0.003), margins={"acc": 2})
    assert shown.status == "FAIL"
    assert "costs 2.5 points on gsm8k (95 % interval −4.0 to −1.0; margin 2 points);" in (
        shown.headline
    )
    # One of its own beside one that all tasks share.
    two = _decide(SOUND, lost, _points(-0.045, -0.06, -0.02, task="c", p_adjusted=0.004),
                  margins={"b/acc": 4})  # fmt: skip
    assert "; margin 4 points) and 4.5 points on c (" in two.headline
    assert ", and a task may lose 3 points; over" in two.headline
    assert "more than its margin of 4 points." in two.reasons[0]
    assert "more than the 3 points that a task may lose." in two.reasons[1]


def test_among_several_intervals_are_wider_and_the_level_of_tests_stays() -> None:
    with pytest.raises(ValueError, match=r"computed at 0\.95, to be judged at 0\.975"):
        _decide(None, KEPT, candidates=2)
    assert _decide(None, KEPT.model_copy(update={"confidence": 0.975}), candidates=2).status == (
        "PASS"
    )
    # Holm has gone over all candidates already.
    lost = LOST.model_copy(update={"confidence": 0.975, "p_adjusted": 0.04})
    assert _decide(None, lost, candidates=2).status == "FAIL"
    assert VerdictSpec(margins={"nll": 0.1}).among(4).margins == {"nll": 0.1}


def test_what_would_show_it() -> None:
    rows = rows_for_room(62, 0.35, 0.25, 0.8, 0.95)
    assert rows == math.ceil(62 * (0.35 * (1.959964 + 0.841621) / 1.959964 / 0.25) ** 2)
    assert _decide(None, OPEN).needed == (
        f"About {rows} rows of wikitext instead of 62 to show that its margin is kept, if the "
        "difference and its spread stay as they are."
    )
    assert _decide(None, BY_CHANCE).needed.startswith("About 197 rows of wikitext instead of 62")
    # As many rows as that: the reach falls with their root, to just what leaves 80 % power.
    reach = 0.35 * math.sqrt(62 / rows)
    assert reach * (1 + 0.841621 / 1.959964) == pytest.approx(0.25, rel=1e-2)


@pytest.mark.parametrize(("worse", "margin", "status"), [
    (0.0, 0.5, "PASS"), (0.0, 0.05, "INCONCLUSIVE"), (0.05, 0.5, "FAIL"), (0.05, 2.0, "PASS"),
])  # fmt: skip
@pytest.mark.parametrize("alone", [False, True])
def test_rows_of_a_perplexity(
    tmp_path: Path, worse: float, margin: float, status: str, alone: bool
) -> None:
    made = make_wikitext(tmp_path, {"word_perplexity": margin}, worse=worse, alone=alone)
    assert made.verdict.status == status
    [pair] = made.pairs
    assert (pair.comparison.pooled is None) == alone
    assert decisive(pair.comparison)[-1].method == CORPUS


def test_error_rates() -> None:
    """In brief what the simulation shows at length."""
    assert own_margins(np.random.default_rng(4), 40, [40])
