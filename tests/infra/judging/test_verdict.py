"""A verdict claims no more than the rows carry, and no rounding turns it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.contracts.records import Comparison, MetricComparison, Pooled, Verdict
from infra.contracts.specs import VerdictSpec
from infra.judging.comparison import compare
from infra.judging.pairing import RunRows
from infra.judging.statistics import PairedCounts, paired_power
from infra.judging.verdict import decide
from tests.infra.made_runs import make_run
from tests.simulate_verdict import comparison_of, most, statuses

SPEC = VerdictSpec()


def _pooled(difference: float, low: float, high: float, bound: float, **changes: Any) -> Pooled:
    return Pooled.model_validate({
        "tasks": ("a", "b"), "rows": 2167, "flip_rate": 0.098, "difference": difference,
        "low": low, "high": high, "confidence": 0.95, "bound": bound, "method": "m", **changes,
    })  # fmt: skip


def _metric(
    task: str, difference: float, low: float | None, high: float | None, **changes: Any
) -> MetricComparison:
    value = {"value": 0.5, "stderr": None, "n": 400}
    return MetricComparison.model_validate({
        "task": task, "metric": "acc,none", "baseline": value, "candidate": value, "unit": "points",
        "difference": difference, "low": low, "high": high, "confidence": 0.95, "method": "m",
        "p_value": 0.5, "p_adjusted": 1.0, "pairs": 400, "lost": 20, "gained": 20, "changed": 50,
        "primary": True, **changes,
    })  # fmt: skip


def _decide(pooled: Pooled | None, *metrics: MetricComparison, **options: Any) -> Verdict:
    comparison = Comparison(metrics=metrics, size_ratio=0.4, pooled=pooled)
    return decide(comparison, SPEC, what="4-bit AWQ", **options)


SOUND = _pooled(-0.003, -0.0078, 0.0018, -0.0071)
UNSURE = _pooled(-0.003, -0.0178, 0.0118, -0.0154)
LOST = _pooled(-0.031, -0.042, -0.02, -0.0402)
EVEN = _metric("a", -0.001, -0.02, 0.018)


@pytest.mark.parametrize(("pooled", "metrics", "headline"), [
    (
        SOUND, [EVEN],
        "PASS: 4-bit AWQ costs 0.3 points (95 % interval −0.8 to +0.2) over 2,167 rows; "
        "a loss of 1 point or more is excluded.",
    ),
    # A loss that is shown, and shown to be smaller than the margin.
    (
        _pooled(-0.005, -0.0082, -0.0018, -0.0076), [EVEN],
        "PASS: 4-bit AWQ costs 0.5 points (95 % interval −0.9 to −0.1) over 2,167 rows; "
        "a loss of 1 point or more is excluded.",
    ),
    (
        _pooled(0.0, -0.006, 0.006, -0.005), [EVEN],
        "PASS: 4-bit AWQ makes no difference (95 % interval −0.6 to +0.6) over 2,167 rows; "
        "a loss of 1 point or more is excluded.",
    ),
    (
        LOST, [EVEN],
        "FAIL: 4-bit AWQ costs 3.1 points (95 % interval −4.2 to −2.0) over 2,167 rows; "
        "that is beyond the margin of 1 point.",
    ),
    (
        _pooled(-0.012, -0.0203, -0.0041, -0.0191), [EVEN],
        "FAIL: 4-bit AWQ costs 1.2 points (95 % interval −2.1 to −0.4) over 2,167 rows; "
        "a loss is shown, and up to 2.0 points are not excluded (margin 1 point).",
    ),
    # One task alone, though all together are within the margin.
    (
        SOUND, [EVEN, _metric("b", -0.05, -0.07, -0.03, p_adjusted=0.003)],
        "FAIL: 4-bit AWQ costs 5.0 points on b (95 % interval −7.0 to −3.0), and a task may lose "
        "3 points; over all 2,167 rows it costs 0.3 points (95 % interval −0.8 to +0.2).",
    ),
    # The same loss, which may be chance after all: neither.
    (
        SOUND, [EVEN, _metric("b", -0.05, -0.07, -0.03, p_adjusted=0.0501)],
        "INCONCLUSIVE: 4-bit AWQ costs 0.3 points (95 % interval −0.8 to +0.2) over 2,167 rows; "
        "but b lost 5.0 points, and a task may lose 3 points.",
    ),
    # A p-value without the interval (of rows in few subjects) is not enough.
    (
        SOUND, [EVEN, _metric("b", -0.05, -0.11, 0.01, p_adjusted=0.003)],
        "INCONCLUSIVE: 4-bit AWQ costs 0.3 points (95 % interval −0.8 to +0.2) over 2,167 rows; "
        "but b lost 5.0 points, and a task may lose 3 points.",
    ),
    (
        UNSURE, [EVEN],
        "INCONCLUSIVE: 4-bit AWQ costs 0.3 points (95 % interval −1.8 to +1.2) over 2,167 rows; "
        "a loss of up to 1.6 points is not excluded (margin 1 point).",
    ),
    (
        _pooled(0.004, -0.0164, 0.0244, -0.0131), [EVEN],
        "INCONCLUSIVE: 4-bit AWQ gains 0.4 points (95 % interval −1.7 to +2.5) over 2,167 rows; "
        "a loss of up to 1.4 points is not excluded (margin 1 point).",
    ),
    (
        SOUND, [EVEN, _metric("ppl", 0.1, None, None, unit="value", p_adjusted=None)],
        "INCONCLUSIVE: 4-bit AWQ costs 0.3 points (95 % interval −0.8 to +0.2) over 2,167 rows; "
        "but the rows of ppl give no interval.",
    ),
    (
        SOUND, [EVEN, _metric("wmt", -2.0, -3.0, -1.0, unit="value", p_adjusted=None)],
        "INCONCLUSIVE: 4-bit AWQ costs 0.3 points (95 % interval −0.8 to +0.2) over 2,167 rows; "
        "but wmt got worse, on a scale without points.",
    ),
    # A task that may have lost on a scale of its own hinders no PASS, but is named in it.
    (
        SOUND, [EVEN, _metric("t", -0.74, -1.74, 0.4, unit="value", p_adjusted=None)],
        "PASS: 4-bit AWQ costs 0.3 points (95 % interval −0.8 to +0.2) over 2,167 rows; "
        "a loss of 1 point or more is excluded; t has no points and is not judged: "
        "difference −0.740, 95 % interval −1.740 to +0.400.",
    ),
    (None, [_metric("a", -0.01, None, None)], "INCONCLUSIVE: the rows of a give no interval."),
    (
        None, [_metric("wmt", 0.1, -1.0, 2.0, unit="value")],
        "INCONCLUSIVE: no task is scored in points, so nothing can be held against the margin.",
    ),
    # A secondary metric and a subtask decide nothing.
    (
        SOUND,
        [EVEN, _metric("b", -0.05, -0.07, -0.03, p_adjusted=0.003, primary=False),
         _metric("c", -0.05, -0.07, -0.03, p_adjusted=0.003, subtask_of="a")],
        "PASS: 4-bit AWQ costs 0.3 points (95 % interval −0.8 to +0.2) over 2,167 rows; "
        "a loss of 1 point or more is excluded.",
    ),
])  # fmt: skip
def test_headlines(pooled: Pooled | None, metrics: list[MetricComparison], headline: str) -> None:
    verdict = _decide(pooled, *metrics)
    assert verdict.headline == headline
    assert verdict.status == headline.partition(":")[0]
    assert bool(verdict.needed) == (verdict.status == "INCONCLUSIVE")
    assert verdict.reasons


@pytest.mark.parametrize(("bound", "status", "said"), [
    (-0.01, "INCONCLUSIVE", "is 1.0 points (one-sided 95 % limit), not below the margin of 1 p"),
    (-0.01004, "INCONCLUSIVE", "is 1.1 points (one-sided 95 % limit), not below the margin"),
    (-0.0099999, "PASS", "is 0.99999 points (one-sided 95 % limit), below the margin"),
    (-0.00996, "PASS", "is 0.996 points (one-sided 95 % limit), below the margin"),
    (0.002, "PASS", "is 0.0 points (one-sided 95 % limit), below the margin"),
])  # fmt: skip
def test_a_bound_stays_on_its_side_of_the_margin(bound: float, status: str, said: str) -> None:
    verdict = _decide(_pooled(-0.002, bound - 0.001, 0.008, bound), EVEN)
    assert verdict.status == status
    assert said in verdict.reasons[0]


@pytest.mark.parametrize(("lost", "status", "said"), [
    (0.03, "PASS", ""),  # exactly what is allowed
    (0.65 - 0.62, "PASS", ""),  # the same, a hair above in binary fractions
    (0.0300001, "INCONCLUSIVE", "b lost 3.00001 points"),
])  # fmt: skip
def test_a_task_may_lose_just_its_margin(lost: float, status: str, said: str) -> None:
    verdict = _decide(SOUND, EVEN, _metric("b", -lost, -0.06, 0.0))
    assert verdict.status == status
    assert said in verdict.headline


def test_lower_is_better() -> None:
    value = {"value": 0.5, "stderr": None, "n": 400, "higher_is_better": False}
    more = _metric("b", 0.05, 0.03, 0.07, p_adjusted=0.003, baseline=value, candidate=value)
    assert _decide(SOUND, EVEN, more).status == "FAIL"
    less = _metric("b", -0.05, -0.07, -0.03, p_adjusted=0.003, baseline=value, candidate=value)
    assert _decide(SOUND, EVEN, less).status == "PASS"


def test_a_task_without_points_is_said_whatever_the_verdict() -> None:
    less = {"value": 9.0, "stderr": None, "n": 400, "higher_is_better": False}
    made = {"unit": "value", "p_adjusted": None, "baseline": less, "candidate": less}
    unclear = _metric("ppl", 0.7, -0.1, 1.5, **made)
    said = "ppl has no points and is not judged: difference +0.700, 95 % interval −0.100 to +1.500"
    for pooled in (SOUND, UNSURE, LOST, None):
        verdict = _decide(pooled, EVEN, unclear)
        assert f"{said}, lower is better." in verdict.reasons[:3]
        assert (said in verdict.headline) == (verdict.status == "PASS")
    gained = _decide(SOUND, EVEN, _metric("ppl", -0.7, -1.5, -0.1, **made))
    assert "ppl" not in " ".join([gained.headline, *gained.reasons])


def test_a_wider_margin_is_said() -> None:
    verdict = _decide(UNSURE, EVEN, margin_points=2.4, widened_from=1.0)
    assert verdict.headline.endswith(
        "a loss of 2.4 points or more is excluded; the margin was widened from 1 point."
    )
    assert (verdict.status, verdict.margin_points, verdict.widened_from_points) == (
        "PASS",
        2.4,
        1.0,
    )
    assert "cannot resolve; it was widened to 2.4 points" in verdict.reasons[-1]


def test_another_confidence_is_refused() -> None:
    with pytest.raises(ValueError, match=r"computed at 0\.9, to be judged at 0\.95"):
        _decide(_pooled(0.0, -0.01, 0.01, -0.005, confidence=0.9), EVEN)


@pytest.mark.parametrize(("pooled", "metrics", "needed"), [
    # 0.098 (2.4865 / 0.007)² rows: 80 % power for the room that is left.
    (UNSURE, [EVEN], "About 12,366 rows instead of 2,167 to show that the loss is within the"),
    (
        _pooled(-0.012, -0.0253, 0.0013, -0.0233), [EVEN],
        "About 5,340 rows instead of 2,167 to show the loss, if the difference and the share of "
        "rows that flip (9.8 %) stay as they are: raise `limit` or add tasks.",
    ),
    (SOUND, [_metric("b", -0.04, -0.09, 0.01)],
     "About 489 rows of b instead of 400, to tell its loss from chance."),
    (SOUND, [_metric("b", 0.0, None, None)], "For b, a first metric that is the mean of its rows"),
    (None, [_metric("b", 0.0, -0.1, 0.1, unit="value")], "A task whose rows are right or wrong."),
])  # fmt: skip
def test_what_would_make_it_conclusive(
    pooled: Pooled | None, metrics: list[MetricComparison], needed: str
) -> None:
    verdict = _decide(pooled, *metrics)
    assert verdict.status == "INCONCLUSIVE"
    assert verdict.needed.startswith(needed)


def test_as_many_rows_as_are_needed_are_enough() -> None:
    """Ten times the rows, in the same shares."""
    few = comparison_of({"a": PairedCounts(1200, 100, 100, 600)})
    many = comparison_of({"a": PairedCounts(12_000, 1000, 1000, 6000)})
    assert decide(few, SPEC, what="Quantization").status == "INCONCLUSIVE"
    assert "About 6,183 rows instead of 2,000" in decide(few, SPEC, what="Quantization").needed
    assert decide(many, SPEC, what="Quantization").status == "PASS"


@pytest.mark.parametrize(("tables", "status"), [
    # Base against itself: nothing flips, and there are rows enough to say so.
    ({"gsm8k": (990, 0, 0, 329), "gpqa": (160, 0, 0, 288)}, "PASS"),
    ({"gsm8k": (300, 0, 0, 100)}, "PASS"),
    # The same, but none of so few rows would flip at a loss of 1 % either.
    ({"gsm8k": (75, 0, 0, 25)}, "INCONCLUSIVE"),
    # A bad group size.
    ({"gsm8k": (700, 40, 290, 289), "gpqa": (110, 30, 50, 258)}, "FAIL"),
    # Sound, but too many flips for so few rows.
    ({"gsm8k": (920, 66, 70, 263), "gpqa": (130, 32, 30, 256)}, "INCONCLUSIVE"),
])  # fmt: skip
def test_three_verdicts(tables: dict[str, tuple[int, int, int, int]], status: str) -> None:
    comparison = comparison_of({task: PairedCounts(*cells) for task, cells in tables.items()})
    assert comparison.pooled is not None
    assert comparison.pooled.low < comparison.pooled.high
    assert decide(comparison, SPEC, what="Quantization").status == status


def test_real_rows_of_base_against_itself(tmp_path: Path) -> None:
    baseline = make_run(tmp_path, rows=300).arms["baseline"]
    verdict = decide(compare(baseline, baseline, RunRows(tmp_path)), SPEC, what="Nothing")
    assert verdict.status == "PASS"
    assert verdict.headline.startswith("PASS: Nothing makes no difference (95 % interval −0.")


REPEATS = 250


@pytest.mark.parametrize("flip_rate", [0.05, 0.3])
def test_error_rates(flip_rate: float) -> None:
    """In brief what the simulation shows at length."""
    rng = np.random.default_rng(21)
    assert statuses(rng, REPEATS, SPEC, flip_rate, 0.0)["FAIL"] <= most(0.05, REPEATS)
    assert statuses(rng, REPEATS, SPEC, flip_rate, 0.01)["PASS"] <= most(0.05, REPEATS)
    found = statuses(rng, REPEATS, SPEC, flip_rate, 0.03)["FAIL"]
    planned = paired_power(2167, flip_rate, 0.03, 0.05)
    assert abs(found - planned) <= 0.03 + 3 * (planned * (1 - planned) / REPEATS) ** 0.5


def test_a_widened_margin_does_not_widen_that_of_a_task() -> None:
    wide = _pooled(-0.02, -0.055, 0.012, -0.049)
    verdict = _decide(wide, _metric("a", -0.045, -0.12, 0.03), margin_points=25.0, widened_from=1.0)
    assert verdict.status == "INCONCLUSIVE"
    lost = _metric("a", -0.095, -0.149, -0.05, p_value=1e-4, p_adjusted=1e-4)
    verdict = _decide(wide, lost, margin_points=25.0, widened_from=1.0)
    assert verdict.status == "FAIL"
    assert "a task may lose 3 points" in verdict.headline


@pytest.mark.parametrize(
    ("value", "chance", "able"),
    [
        (0.0, 0.0, False),  # every answer wrong, such as cut at the token limit
        (0.0, None, False),
        (0.01, 0.0, False),  # a single point to lose
        (0.02, 0.0, True),
        (0.27, 0.25, False),  # 108 of 400: as good as guessing
        (0.285, 0.25, False),  # p = 0.06
        (0.29, 0.25, True),  # p = 0.04
        (0.5, None, True),
    ],
)
def test_a_task_that_the_baseline_cannot_do_shows_no_loss(
    value: float, chance: float | None, able: bool
) -> None:
    score = {"value": value, "stderr": None, "n": 400}
    verdict = _decide(SOUND, EVEN, _metric("b", 0, -0.005, 0.005, baseline=score, chance=chance))
    if able:
        assert verdict.status == "PASS"
        return
    assert verdict.status == "INCONCLUSIVE"
    assert "b could show no loss: the baseline is hardly better than guessing" in verdict.headline
    assert any(f"the baseline scores {100 * value:.1f} %" in why for why in verdict.reasons)
    assert verdict.needed.startswith("Instead of b, a task that the baseline can do")


def test_a_loss_that_nothing_tests_is_not_called_chance() -> None:
    lost = _metric("b", -0.1, -0.13, -0.07, p_adjusted=1e-11)
    early = SPEC.model_copy(update={"early_stop": True})
    comparison = Comparison(metrics=(EVEN, lost), size_ratio=0.4, pooled=SOUND)
    stopped = decide(comparison, early, what="Quantization", stopped_after=2167)
    assert stopped.status == "INCONCLUSIVE"
    assert "not tested where a candidate may be stopped early" in " ".join(stopped.reasons)
    assert stopped.needed == "A look at b alone with verdict.early_stop=False."
    shares = _decide(SOUND, EVEN, lost.model_copy(update={"p_adjusted": None}))
    assert "rows that are not right or wrong have no test" in " ".join(shares.reasons)
    assert shares.needed == "A look at b alone."
    chance = _decide(SOUND, EVEN, lost.model_copy(update={"p_adjusted": 0.2}))
    assert "it may be chance" in " ".join(chance.reasons)
    assert "rows of b instead of 400" in chance.needed
