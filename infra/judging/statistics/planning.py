"""What a number of paired rows can show, before they are answered.

Only rows that one arm alone gets right say something about the difference. Their share, the flip
rate, therefore decides how many rows a question takes.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from statistics import NormalDist

_NORMAL = NormalDist()
"""Not SciPy's: it takes a second to import, and this is needed before every run."""

_STEPS = 10**12
"""Losses that are distinguished: fractions of the rows."""


def paired_power(n: int, flip_rate: float, drop: float, alpha: float) -> float:
    """Return the chance to find a true loss.

    R. J. Connor (1987), "Sample size for testing differences in proportions for the paired-sample
    design", Biometrics 43, 207-211. With flip rate psi and true loss d,

        n = (z_a sqrt(psi) + z_b sqrt(psi - d^2))^2 / d^2

    solved for the power, whose normal quantile z_b is.

    Args:
        n: Rows.
        flip_rate: Share of rows that only one arm has right; at least `drop`.
        drop: True loss, as a share of the rows.
        alpha: Two-sided level of the test; the chance to find a loss without one is half of it.

    Raises:
        ValueError: A loss of `drop` takes more flips than that.
    """
    if not 0 <= drop <= flip_rate <= 1:
        raise ValueError(f"flip_rate={flip_rate:g} allows no loss of {drop:g}")
    reach = drop * math.sqrt(n) - _NORMAL.inv_cdf(1 - alpha / 2) * math.sqrt(flip_rate)
    spread = math.sqrt(flip_rate - drop * drop)
    if spread == 0:  # all rows flip to one side, or none flips
        return float(reach > 0)
    return _NORMAL.cdf(reach / spread)


def smallest_drop(n: int, flip_rate: float, power: float, alpha: float) -> float:
    """Return the smallest true loss that is found with a given power; see `paired_power`.

    Args:
        n: Rows.
        flip_rate: Share of rows that only one arm has right. A loss beyond it raises it.
        power: Chance to find the loss.
        alpha: Two-sided level of the test.

    Returns:
        A share of the rows; 1 if no loss would be found that often.
    """

    def found(step: int) -> float:
        drop = step / _STEPS
        return paired_power(n, max(flip_rate, drop), drop, alpha)

    return min(1.0, bisect_left(range(_STEPS), power, key=found) / _STEPS)


def rows_for_drop(drop: float, flip_rate: float, power: float, alpha: float) -> int:
    """Return how many rows it takes to find a true loss with a given power.

    The inverse of `smallest_drop`, with the same arguments.
    """
    flip_rate = max(flip_rate, drop)
    reach = _NORMAL.inv_cdf(1 - alpha / 2) * math.sqrt(flip_rate)
    reach += _NORMAL.inv_cdf(power) * math.sqrt(flip_rate - drop * drop)
    return math.ceil((reach / drop) ** 2)


def smallest_margin(n: int, flip_rate: float, power: float, confidence: float) -> float:
    """Return the smallest margin within which a model without loss is shown to be.

    The lower limit lies z sqrt(psi / n) below what is observed, which itself spreads by
    sqrt(psi / n) around zero: H. M. Blackwelder (1982), "Proving the null hypothesis in clinical
    trials", Controlled Clinical Trials 3, 345-353, with the variance of a paired difference.

    Args:
        n: Rows.
        flip_rate: Share of rows that only one arm has right.
        power: Chance to show it if there is no loss.
        confidence: One-sided, of the lower limit.

    Returns:
        A share of the rows; at most 1.
    """
    if not n:
        return 1.0
    return min(1.0, _quantiles(power, confidence) * math.sqrt(flip_rate / n))


def rows_for_margin(margin: float, flip_rate: float, power: float, confidence: float) -> int:
    """Return how many rows it takes to show that a model without loss is within a margin.

    The inverse of `smallest_margin`, with the same arguments.
    """
    return math.ceil(flip_rate * (_quantiles(power, confidence) / margin) ** 2)


def rows_for_room(n: int, reach: float, room: float, power: float, confidence: float) -> int:
    """Return how many rows it takes for an interval to end before some distance.

    For metrics whose rows are no shares: the spread is that of the rows that there are, seen by
    their interval, whose reach falls with the root of their number.

    Args:
        n: Rows that there are.
        reach: From the observed difference to the end of its interval on that side.
        room: From the observed difference to where the interval has to end; above zero.
        power: Chance that it does.
        confidence: Of the interval, two-sided.
    """
    quantile = _NORMAL.inv_cdf((1 + confidence) / 2)
    return math.ceil(n * (reach * (1 + _NORMAL.inv_cdf(power) / quantile) / room) ** 2)


def _quantiles(power: float, confidence: float) -> float:
    return _NORMAL.inv_cdf(confidence) + _NORMAL.inv_cdf(power)
