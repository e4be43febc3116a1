"""Looked at after every row, the test still errs no more often than it says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from infra.contracts.records import Comparison
from infra.contracts.specs import VerdictSpec
from infra.judging.sequential import LOOKING_EARLY, lower_limits, pooled_so_far
from infra.judging.statistics import PairedCounts, smallest_margin
from infra.judging.verdict import decide
from tests.first_stop import Stop, first_stop
from tests.simulate_verdict import comparison_of, most, sequence, stops

SEQUENCES = 300


@pytest.mark.parametrize("flip_rate", [0.05, 0.3])
def test_it_keeps_its_level_at_any_time(flip_rate: float) -> None:
    rng = np.random.default_rng(11)
    none, _ = stops(rng, SEQUENCES, 1000, flip_rate, 0.0, 0.02)
    edge, _ = stops(rng, SEQUENCES, 1000, flip_rate, 0.02, 0.02)
    assert none["FAIL"] <= most(0.025, SEQUENCES)
    assert edge["PASS"] <= most(0.05, SEQUENCES)


@pytest.mark.parametrize(("rows", "flip_rate"), [(400, 0.1), (400, 0.3), (1500, 0.1)])
def test_what_the_leave_to_look_at_any_time_costs(rows: int, flip_rate: float) -> None:
    rng = np.random.default_rng(13)
    limits = [
        lower_limits(sequence(rng, rows, flip_rate, 0.0), 0.95)[-1] for _ in range(SEQUENCES // 3)
    ]
    kept = -np.quantile(limits, 0.2)  # by four of five models without loss
    assert kept / smallest_margin(rows, flip_rate, 0.8, 0.95) == pytest.approx(
        LOOKING_EARLY, rel=0.15
    )


def test_a_great_loss_is_found_early() -> None:
    found, rows = stops(np.random.default_rng(12), 50, 2000, 0.2, 0.1, 0.01)
    assert found["FAIL"] == 1.0
    assert rows < 600


def test_the_first_stops_by_hand() -> None:
    """The mean capital of forty stakes, multiplied row by row."""
    stakes = np.geomspace(0.004, 0.98, 40)
    lost = ties = 0
    while np.mean((1 + stakes) ** lost) < 40:  # two-sided: 1 / 0.025
        lost += 1
    while np.mean((1 + stakes * (1 / 0.99 - 1)) ** ties) < 20:  # one-sided: 1 / 0.05
        ties += 1
    assert first_stop([-1] * 20, 0.01) == Stop(lost, "FAIL")
    assert first_stop([0] * 2000, 0.01) == Stop(ties, "PASS")
    assert first_stop([0] * (ties - 1), 0.01) == Stop(ties - 1, None)


def test_a_small_loss_is_no_early_fail() -> None:
    """It is shown, and smaller than the margin: it may still pass."""
    rows = ([0] * 49 + [-1]) * 60
    assert first_stop(rows, 0.05).outcome == "PASS"
    assert first_stop(rows, 0.021).outcome != "FAIL"
    assert first_stop(rows, 0.019).outcome == "FAIL"


def test_limits_agree_with_the_stop() -> None:
    rows = sequence(np.random.default_rng(13), 3000, 0.1, 0.0)
    stop = first_stop(rows, 0.05)
    assert stop.outcome == "PASS"
    below = lower_limits(rows, 0.95)
    assert below[stop.rows - 1] > -0.05 >= below[: stop.rows - 1].max()
    assert np.all(below <= np.cumsum(rows) / np.arange(1, 3001))


def test_limits_cover_at_all_times() -> None:
    rng = np.random.default_rng(14)
    missed = sum(
        bool((lower_limits(sequence(rng, 400, 0.2, 0.05), 0.9) > -0.05).any()) for _ in range(100)
    )
    assert missed / 100 <= most(0.1, 100)


@pytest.mark.parametrize(("drop", "status"), [(0.1, "FAIL"), (0.0, "PASS")])
def test_a_stopped_evaluation_gets_the_verdict_that_stopped_it(drop: float, status: str) -> None:
    rows = sequence(np.random.default_rng(15), 4000, 0.11, drop)
    stop = first_stop(rows, 0.03)
    pooled = pooled_so_far(rows[: stop.rows], ["t"], 0.95)
    assert pooled.low < pooled.difference < pooled.high
    assert pooled.low < pooled.bound
    comparison = Comparison(metrics=(), size_ratio=0.4, pooled=pooled)
    verdict = decide(
        comparison, VerdictSpec(margin_points=3.0), what="Quantization", stopped_after=stop.rows
    )
    assert (verdict.status, stop.outcome, verdict.stopped_after) == (status, status, stop.rows)
    assert f"stopped after {stop.rows:,} rows" in " ".join(verdict.reasons)


def test_p_values_of_tasks_do_not_count_in_a_stopped_evaluation() -> None:
    comparison = comparison_of(
        {"a": PairedCounts(50, 0, 10, 40), "b": PairedCounts(900, 60, 50, 90)}
    )
    spec = VerdictSpec(margin_points=3.0)
    assert decide(comparison, spec, what="Quantization").status == "FAIL"
    assert (
        decide(comparison, spec, what="Quantization", stopped_after=1200).status == "INCONCLUSIVE"
    )


@pytest.mark.parametrize("rows", [[], [0, -1.5], [2]])
def test_other_rows_are_refused(rows: list[float]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1 in both arms"):
        lower_limits(rows, 0.95)


def test_a_question_that_is_asked_several_times_is_a_row() -> None:
    """By its own formula: the capital of each stake, multiplied up row by row."""
    rows = [-0.5, 0.0, 0.25, 1.0, -1.0, 0.75, 0.0, 0.5, 0.25, 0.25] * 8
    limits = lower_limits(rows, 0.9)
    stakes = np.geomspace(0.004, 0.98, 40)
    for count in (10, 80):
        mean = limits[count - 1]
        capital = np.mean(
            [math.prod(1 + u * ((d + 1) / (mean + 1) - 1) for d in rows[:count]) for u in stakes]
        )
        assert capital == pytest.approx(10, rel=1e-6)


def test_many_rows_do_not_overflow() -> None:
    limits = lower_limits([1] * 14_000, 0.95)
    assert math.isfinite(limits[-1])
    assert limits[-1] > 0.99
