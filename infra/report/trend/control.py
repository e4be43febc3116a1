"""A control chart: which run is further from the earlier ones than runs usually are?

Shewhart's chart for individual values, with the spread taken from moving ranges (D. C. Montgomery,
Introduction to Statistical Quality Control, chapter 6.4): the mean of the earlier values, plus and
minus three times the mean distance of neighbours over d2 = 1.128.

Chosen over a chart for proportions (p-chart), although scores are proportions: its limits hold for
runs that draw new rows, and here every run has the same ones. Rows that are hard stay hard, so
runs differ far less than the binomial distribution says, and it would never sound. For a constant
number of rows, Laney's p′-chart (Quality Engineering 14, 2002), made for that case, is this chart.

Three things are done to it:

- A run is judged by the runs before it, which are few at first. Three sigma is therefore the
  quantile of the t distribution with the same chance, 0.27 %, and 0.605 (m - 1) degrees of freedom:
  what moving ranges of m values tell of a spread (J. D. Cryer & T. P. Ryan, Journal of Quality
  Technology 22, 1990), times sqrt(1 + 1/m) for the mean that is estimated, too.
- An engine that computes the same again gives the same score, and its moving ranges are zero. The
  limits are never nearer than what ten rows make: by the exact McNemar test, ten rows that all fall
  to one side are the fewest that chance explains in less than 0.27 % of the cases (2 / 2^10).
- A run outside the limits does not widen the limits of the next.

Besides, eight runs in a row on one side of the mean of those before are flagged, a shift or a drift
(Western Electric, Statistical Quality Control Handbook, 1956, rule 4). By itself that rule sounds
in 1 of 128 quiet runs and more, so the mean of the eight has to be out of control as well: further
away than three sigma of such a mean, and than ten rows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean
from typing import Literal

FEWEST = 8
"""Earlier runs it takes to judge one."""

_RUN = 8
_ROWS = 10
_D2 = 1.128
_CHANCE = 0.0027
_MOST = 100
"""Runs that limits are taken from: the latest ones."""

Flag = Literal["above", "below", "run above", "run below"]


@dataclass(frozen=True, slots=True)
class Judged:
    """One value beside the limits that the values before it give."""

    centre: float | None = None
    low: float | None = None
    high: float | None = None
    """None as long as there are too few values."""

    flag: Flag | None = None
    """On which side it is out of control: by itself, or as the eighth in a row."""


def judge(values: Sequence[float], rows: int | None) -> list[Judged]:
    """Return each value beside its limits.

    Args:
        values: Oldest first.
        rows: Rows that each is the mean of, if a row counts at most one; else none.
    """
    nearest = _ROWS / rows if rows else 0.0
    good: list[float] = []
    judged: list[Judged] = []
    for place, value in enumerate(values):
        one = _judge(value, good[-_MOST:], nearest)
        if one.flag is None:
            good.append(value)
            shifted = _run_of_eight(values[: place + 1], good, nearest)
            one = Judged(one.centre, one.low, one.high, shifted)
        judged.append(one)
    return judged


def _judge(value: float, earlier: Sequence[float], nearest: float) -> Judged:
    if len(earlier) < FEWEST:
        return Judged()
    centre, reach = _limits(earlier, 1, nearest)
    flag: Flag | None = None
    if abs(value - centre) > reach:
        flag = "above" if value > centre else "below"
    return Judged(centre, centre - reach, centre + reach, flag)


def _run_of_eight(values: Sequence[float], good: Sequence[float], nearest: float) -> Flag | None:
    latest, before = good[-_RUN:], good[-_MOST - _RUN : -_RUN]
    if len(before) < FEWEST or list(values[-_RUN:]) != list(latest):
        return None  # too few, or not in a row
    centre, reach = _limits(before, _RUN, nearest)
    if abs(fmean(latest) - centre) <= reach:
        return None
    if all(value > centre for value in latest):
        return "run above"
    return "run below" if all(value < centre for value in latest) else None


def _limits(earlier: Sequence[float], count: int, nearest: float) -> tuple[float, float]:
    """Return the mean of earlier values, and how far from it a mean of `count` more may lie."""
    distances = [abs(one - other) for one, other in itertools.pairwise(earlier)]
    sigma = fmean(distances) / _D2
    spread = math.sqrt(1 / count + 1 / len(earlier))
    # A hair of room: sums of fractions are not exact.
    return fmean(earlier), max(_quantile(len(earlier)) * spread * sigma, nearest) + 1e-12


@cache
def _quantile(count: int) -> float:
    from scipy.special import stdtrit  # scipy.stats would take seconds to import

    return -float(stdtrit(0.605 * (count - 1), _CHANCE / 2))
