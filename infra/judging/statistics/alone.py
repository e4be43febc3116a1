"""Intervals of one arm's score, with nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence

from infra.judging.statistics.accelerated import accelerated_limits, resampled_means
from infra.judging.statistics.paired import CONFIDENCE

WILSON = "Wilson 1927: score interval for a proportion"
MEAN = "BCa bootstrap of the rows (Efron 1987), 9,999 resamples"

_FEWEST = 10
_SEED = 1927
"""Fixed, so that the same rows always give the same interval."""


def mean_alone(
    values: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[float, float, str] | None:
    """Return the interval of the mean of rows, and its name; none where rows give no basis.

    Of rows that are right or wrong it is E. B. Wilson's (1927), "Probable inference, the law of
    succession, and statistical inference", Journal of the American Statistical Association 22,
    209-212, which holds its coverage near 0 and 1 and with few rows. Of others it is a bootstrap.
    """
    if not values:
        return None
    if set(values) <= {0.0, 1.0}:
        from statsmodels.stats.proportion import proportion_confint

        low, high = proportion_confint(
            sum(values), len(values), alpha=1 - confidence, method="wilson"
        )
        return float(low), float(high), WILSON
    if len(values) < _FEWEST or len(set(values)) == 1:
        return None
    import numpy as np

    rows = np.asarray(values, float)
    mean = rows.mean()
    found = accelerated_limits(resampled_means(rows, _SEED), mean, rows - mean, confidence)
    return found and (*found, MEAN)
