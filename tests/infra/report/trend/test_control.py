"""The limits of a control chart: by hand, by simulation, and where nothing varies."""

from __future__ import annotations

import numpy as np
import pytest

from infra.report.trend.control import FEWEST, judge


def test_limits_of_few_runs_by_hand() -> None:
    """Moving ranges 2, 2, …, so sigma is 2 / 1.128; t with 0.605 × 7 degrees at 0.135 %."""
    values = [50.0, 52.0] * 4 + [51.0]
    judged = judge(values, None)
    assert all(one.low is None and one.flag is None for one in judged[:FEWEST])
    last = judged[-1]
    from scipy.stats import t

    reach = t.isf(0.00135, 0.605 * 7) * np.sqrt(1 + 1 / 8) * 2 / 1.128
    assert last.centre == 51
    assert (last.low, last.high) == pytest.approx((51 - reach, 51 + reach), rel=1e-9)


def test_many_runs_have_three_sigma() -> None:
    """Montgomery's limits: three times the mean moving range over 1.128."""
    values = list(np.random.default_rng(4).normal(0, 1, 101))
    last = judge(values, None)[-1]
    sigma = np.abs(np.diff(values[:100])).mean() / 1.128
    assert last.high is not None and last.centre is not None
    assert (last.high - last.centre) / sigma == pytest.approx(3, abs=0.2)


@pytest.mark.parametrize("before", [FEWEST, 12, 20, 50])
def test_false_alarms_are_as_rare_as_three_sigma_promises(before: int) -> None:
    """0.27 % each for one value and for eight in a row, however few runs there were before."""
    histories = 4_000
    values = np.random.default_rng(before).normal(0.6, 0.01, (histories, before + 1))
    flags = [judge(list(row), None)[-1].flag for row in values]
    beyond = sum(flag in ("above", "below") for flag in flags) / histories
    shifted = sum(flag in ("run above", "run below") for flag in flags) / histories
    most = 0.0027 + 4 * np.sqrt(0.0027 / histories)
    assert beyond < most
    assert shifted < most


def test_the_rates_are_not_low_because_nothing_is_ever_reported() -> None:
    values = np.random.default_rng(1).normal(0, 1, (500, 31))
    values[:, -1] -= 5
    assert sum(judge(list(row), None)[-1].flag == "below" for row in values) > 450
    values = np.random.default_rng(2).normal(0, 1, (500, 38))
    values[:, -8:] -= 2
    flagged = [{one.flag for one in judge(list(row), None)[-8:]} - {None} for row in values]
    assert sum(bool(flags) for flags in flagged) > 400


def test_a_drop_is_reported_and_does_not_widen_the_limits() -> None:
    quiet = [0.60, 0.61, 0.605, 0.595, 0.60] * 4
    judged = judge([*quiet, 0.50, *quiet], 1_000)
    assert judged[20].flag == "below"
    assert [one.flag for place, one in enumerate(judged) if place != 20] == [None] * 40
    assert judged[21].low == pytest.approx(judged[20].low, abs=1e-3)
    assert judge([*quiet, 0.70], 1_000)[-1].flag == "above"


@pytest.mark.parametrize(("rows_lost", "flag"), [(9, None), (10, None), (11, "below")])
def test_an_engine_that_repeats_itself_is_allowed_ten_rows(
    rows_lost: int, flag: str | None
) -> None:
    values = [0.5] * 12 + [0.5 - rows_lost / 200]
    assert judge(values, 200)[-1].flag == flag
    assert judge([0.5] * 12 + [0.499], None)[-1].flag == "below", "without rows every step counts"


def test_eight_in_a_row_tell_a_shift() -> None:
    around = [0.60, 0.62, 0.59, 0.61, 0.60, 0.63, 0.58, 0.61, 0.60, 0.61] * 2
    lower = [0.565, 0.555, 0.56, 0.55, 0.565, 0.56, 0.555, 0.56]
    flags = [one.flag for one in judge([*around, *lower], 1_000)]
    assert flags == [None] * 27 + ["run below"]
    assert judge([*around, *lower], 200)[-1].flag is None, "fewer than ten rows of 200"
    assert judge([*around, *lower[:4], 0.62, *lower[4:]], 1_000)[-1].flag is None
    judged = judge([*around, *lower[:4], 0.9, *lower[4:]], 1_000)
    assert [judged[24].flag, judged[-1].flag] == ["above", None], "not in a row"
