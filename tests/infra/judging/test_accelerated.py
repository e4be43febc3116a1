"""Bootstrap limits with a jackknife in closed form are SciPy's, which leaves out row by row."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap

from infra.judging.statistics import accelerated, paired_means
from infra.judging.statistics.accelerated import accelerated_limits, resampled_means
from infra.judging.statistics.alone import mean_alone


def scipys(rows: list[float], confidence: float, seed: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bootstrap(
            (np.array(rows),), np.mean, confidence_level=confidence, n_resamples=9_999, batch=100,
            method="BCa", rng=np.random.default_rng(seed),
        )  # fmt: skip


def gauss(chance: random.Random) -> list[float]:
    return [chance.gauss(-0.1, 0.4) for _ in range(150)]


def heavy(chance: random.Random) -> list[float]:
    return [chance.gauss(0, 1) ** 5 for _ in range(90)]


def tied(chance: random.Random) -> list[float]:
    return [chance.choice([0.0, 0.0, 0.0, 0.5, -0.5, 1 / 3]) for _ in range(300)]


def one_differs(chance: random.Random) -> list[float]:
    return [0.0] * 60 + [chance.choice([-0.5, 0.25])]


def few(chance: random.Random) -> list[float]:
    return [chance.random() for _ in range(10)]


def of_nats(chance: random.Random) -> list[float]:
    return [-1e6 + chance.expovariate(1.0) for _ in range(40)]


def huge_beside_tiny(chance: random.Random) -> list[float]:
    return [1e9] + [chance.gauss(0, 1e-9) for _ in range(30)]


DRAWS = [gauss, heavy, tied, one_differs, few, of_nats, huge_beside_tiny]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("draw", DRAWS, ids=lambda draw: str(draw.__name__))
def test_limits_are_scipys(draw: Callable[[random.Random], list[float]], seed: int) -> None:
    rows = draw(random.Random(seed))
    for confidence in (0.95, 0.9):
        wanted = scipys(rows, confidence, seed=1987)
        assert paired_means(rows, confidence) == pytest.approx(
            tuple(wanted.confidence_interval), rel=1e-12, abs=1e-15
        )
    of_one = scipys(rows, 0.95, seed=1927).confidence_interval
    found = mean_alone(rows)
    assert found is not None
    assert found[:2] == pytest.approx(tuple(of_one), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("numbers", [1, 400, 2**16])
def test_resamples_are_scipys_to_the_last_bit(
    numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerated, "_NUMBERS", numbers)
    rows = gauss(random.Random(1))
    wanted = scipys(rows, 0.95, seed=5).bootstrap_distribution
    assert (resampled_means(np.array(rows), 5) == wanted).all()


@pytest.mark.parametrize(
    "rows",
    [
        [0.0] * 20 + [float("nan")],
        [0.0] * 20 + [float("inf")],
        [0.0] * 20 + [1e-200],  # its square is zero
        [0.0] * 20 + [1e-110],  # its cube is
        [0.0] * 20 + [1e200],
    ],
)
def test_where_scipy_finds_no_ends_there_are_none(rows: list[float]) -> None:
    assert not np.isfinite(tuple(scipys(rows, 0.95, seed=1987).confidence_interval)).all()
    with np.errstate(invalid="ignore"):
        assert paired_means(rows) is None
        assert mean_alone(rows) is None


def test_a_score_beyond_all_resamples_has_no_ends() -> None:
    found, pulls = np.arange(100.0), np.array([1.0, -1.0, 3.0])
    assert accelerated_limits(found, 50.5, pulls, 0.9) is not None
    assert accelerated_limits(found, 200.0, pulls, 0.9) is None


def test_rows_that_differ_by_their_rounding_alone_have_no_interval() -> None:
    """No width would claim certainty, and whether SciPy found one was chance."""
    rows = [0.1 + step - step for step in (0.0, 0.2, 0.7, 1.1, 2.3, 3.7)] * 5
    assert len({*rows}) > 1
    assert paired_means(rows) is None
    assert mean_alone(rows) is None
