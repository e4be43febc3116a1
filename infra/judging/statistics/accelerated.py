"""Bootstrap limits, bias-corrected and accelerated, of scores whose jackknife is found at once.

SciPy's `bootstrap` leaves out each row in turn and makes the score anew of the others: n² numbers,
for 14,042 rows of MMLU as many as it draws. A mean without one row, or a total, follows from that
of all rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]

RESAMPLES = 9_999

_NUMBERS = 2**16
"""Drawn at a time: they stay close to the processor."""

_ROUNDING = 1e-13
"""Of a mean, relative."""


def resampled_means(rows: Array, seed: int) -> Array:
    """Return the means of resamples of rows, as SciPy's `bootstrap` draws them, to the last bit.

    Args:
        rows: One number each.
        seed: Of the draws.
    """
    import numpy as np

    rng, found = np.random.default_rng(seed), np.empty(RESAMPLES)
    at_a_time = max(1, _NUMBERS // len(rows))
    room = np.empty((at_a_time, len(rows)))
    for start in range(0, RESAMPLES, at_a_time):
        part = found[start : start + at_a_time]
        chosen = rng.integers(0, len(rows), (len(part), len(rows)))
        taken = rows.take(chosen, out=room[: len(part)], mode="clip")  # which spares a copy
        part[:] = taken.mean(axis=-1)
    return found


def accelerated_limits(
    found: Array, observed: float, pulls: Array, confidence: float
) -> tuple[float, float] | None:
    """Return both ends of the interval.

    B. Efron (1987), "Better bootstrap confidence intervals", Journal of the American Statistical
    Association 82, 171-185. With z0 = PHI^-1(share of resamples below the score) and the
    acceleration a = sum(u^3) / (6 sum(u^2)^1.5), an end is the quantile of the resamples at

        PHI(z0 + (z0 + z) / (1 - a (z0 + z)))        z = PHI^-1((1 -+ confidence) / 2)

    Args:
        found: What resamples score.
        observed: What the rows score.
        pulls: u of each row, in any unit: by how much the score falls without it, less the mean
            of these.
        confidence: Nominal coverage.

    Returns:
        None if resampling shows no spread.
    """
    import numpy as np
    from scipy.special import ndtr, ndtri
    from scipy.stats import quantile

    # Rows that differ by their own rounding alone are alike; no width would claim certainty.
    if np.ptp(found) <= _ROUNDING * np.abs(found).max():
        return None
    with np.errstate(all="ignore"):  # what comes of a division by zero is no number
        bias = ndtri(((found < observed).mean() + (found <= observed).mean()) / 2)
        acceleration = (pulls**3).sum() / (6 * (pulls**2).sum() ** 1.5)
        z = ndtri((1 - confidence) / 2)
        tails = bias + np.array([z, -z])
        places = ndtr(bias + tails / (1 - acceleration * tails))
    low, high = quantile(found, places)
    return (float(low), float(high)) if np.isfinite([low, high]).all() else None
