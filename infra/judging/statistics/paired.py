"""Intervals and tests of one task's rows.

Pairing is what makes small losses visible: rows that both arms get right, or both get wrong,
say nothing about their difference and add nothing to its spread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from infra.judging.statistics.accelerated import accelerated_limits, resampled_means

if TYPE_CHECKING:
    from infra.judging.statistics.accelerated import Array

CONFIDENCE = 0.95
"""Coverage of every interval in a report."""

TANGO = "Tango 1998: score interval for paired proportions"
BOOTSTRAP = "BCa bootstrap of the rows' differences (Efron 1987), 9,999 resamples"
AMOUNTS = "Tango's interval (1998) of the amounts lost and gained, where wider"

_TINY = 1e-14
"""Without flips the score is zero over zero at no difference at all: the search ends beside it."""

_FEWEST = 10
_SEED = 1987
"""Fixed, so that the same rows always give the same interval."""


@dataclass(frozen=True, slots=True)
class PairedCounts:
    """A paired 2x2 table of rows that are right or wrong in each arm."""

    both: int
    first_only: int
    second_only: int
    neither: int

    @property
    def n(self) -> int:
        """Rows."""
        return self.both + self.first_only + self.second_only + self.neither


def paired_proportions(counts: PairedCounts, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the interval for the first arm's proportion minus the second's.

    T. Tango (1998), "Equivalence test and confidence interval for the difference in proportions for
    the paired-sample design", Statistics in Medicine 17, 891-908. Of n rows only the first arm has
    b right, only the second c. The interval holds every difference D that its score test keeps:

        |b - c - n D| <= z sqrt(n (2 q + D (1 - D)))

    with q the likeliest share of rows that only the second arm has right if D is true: the larger
    root of 2n q^2 + ((2n - b + c) D - b - c) q - c D (1 - D) = 0.

    Made for non-inferiority: the spread is that under the margin itself, not the one seen, which is
    too small whenever few rows happen to be lost. Wald's interval and Newcombe's (1998) tenth
    method use the latter: of 400 rows of which 3 % flip, they pass a loss of just the margin of 2.5
    points 10 and 7 times in 100 instead of 5. This one has a width where nothing flips, and at
    D = 0 it is McNemar's test, whose power `planning` computes. Fagerland, Lydersen & Laake (2014)
    recommend it.

    Args:
        counts: The table; at least one row.
        confidence: Nominal coverage.

    Returns:
        Both ends, within [-1, 1].

    Raises:
        ValueError: There are no rows.
    """
    return _score_limits(counts.first_only, counts.second_only, counts.n, confidence)


def paired_amounts(
    differences: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return Tango's interval for rows that score anything between 0 and 1.

    b and c of `paired_proportions` are then the sums of what the rows gained and lost, in place of
    their counts; where every row gained or lost all, it is the same interval. As if each row were
    rounded by lot to all or nothing, whose mean is the same and whose spread is no smaller: a row
    that lost 0.2 counts as lost with a chance of 1 in 5. It therefore allows for whole rows being
    lost of which none happens to be among these, which no resampling of these rows can do.

    Args:
        differences: One number a row, first arm minus second, within [-1, 1]; at least one.
        confidence: Nominal coverage.

    Returns:
        Both ends, within [-1, 1].

    Raises:
        ValueError: There are no rows.
    """
    gained = math.fsum(difference for difference in differences if difference > 0)
    lost = math.fsum(-difference for difference in differences if difference < 0)
    return _score_limits(gained, lost, len(differences), confidence)


def _score_limits(b: float, c: float, n: int, confidence: float) -> tuple[float, float]:
    if n == 0:
        raise ValueError("no rows, no interval")
    return _score_limit(b, c, n, confidence), -_score_limit(c, b, n, confidence)


def _score_limit(b: float, c: float, n: int, confidence: float) -> float:
    """Return the lower limit; the upper one is that of the arms the other way round."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    z = float(norm.isf((1 - confidence) / 2))

    def beyond(difference: float) -> float:
        half = ((2 * n - b + c) * difference - b - c) / (4 * n)
        product = c * difference * (1 - difference) / (2 * n)
        q = math.sqrt(max(0.0, half * half + product)) - half
        spread = math.sqrt(max(0.0, n * (2 * q + difference * (1 - difference))))
        return b - c - n * difference - z * spread

    if beyond(-1.0) <= 0:  # every row lost, to a hair
        return -1.0
    return float(brentq(beyond, -1.0, (b - c) / n - _TINY, xtol=_TINY))


def exact_mcnemar(counts: PairedCounts) -> float:
    """Return the two-sided p-value of the exact conditional McNemar test.

    Under no difference, the discordant pairs fall to either side like a fair coin.
    """
    from scipy.stats import binomtest

    discordant = counts.first_only + counts.second_only
    return float(binomtest(counts.first_only, discordant).pvalue) if discordant else 1.0


def paired_means(
    differences: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Return the bootstrap interval for the mean of the rows' differences.

    Bias-corrected and accelerated, as SciPy's `bootstrap` makes it.

    Args:
        differences: One number a row, first arm minus second.
        confidence: Nominal coverage.

    Returns:
        Both ends; none if there are fewer than ten rows, which resample too coarsely, or if all
        differ alike: resampling then shows no spread, and width zero would claim certainty.
    """
    if len(differences) < _FEWEST or len(set(differences)) < 2:
        return None
    import numpy as np

    rows = np.asarray(differences, dtype=float)
    mean = rows.mean()
    return accelerated_limits(_resampled(rows.tobytes()), mean, rows - mean, confidence)


@lru_cache(maxsize=64)
def _resampled(rows: bytes) -> Array:
    """Return the means of resamples of rows, which are float64 side by side.

    Rows are asked for limits and for bounds, and again when a receipt is checked: drawing takes
    nearly all of the time, and is the same at every confidence.
    """
    import numpy as np

    return resampled_means(np.frombuffer(rows), _SEED)
