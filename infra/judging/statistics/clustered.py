"""Intervals for rows that come in subjects: what one subject's rows share is no news twice."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

CLUSTERED = "cluster-robust by subject (Liang & Zeger 1986), t limits, where wider"
REPEATED = "cluster-robust by question, since some are asked more than once, where wider"
FEWEST_SUBJECTS = 10
"""With fewer, the spread between subjects is itself hardly known."""


def clustered_mean(
    differences: Sequence[float], subjects: Sequence[Hashable], confidence: float
) -> tuple[float, float]:
    """Return the interval for the mean of the rows' differences, clustered by subject.

    K.-Y. Liang & S. L. Zeger (1986), "Longitudinal data analysis using generalized linear models",
    Biometrika 73, 13-22, with the small-sample factor and the t limits of A. C. Cameron & D. L.
    Miller (2015), Journal of Human Resources 50, 317-372; E. Miller (2024), "Adding error bars to
    evals", asks for it where questions come in groups.

    Args:
        differences: One number a row.
        subjects: Which subject each row is of; at least two different ones.
        confidence: Two-sided.
    """
    import numpy as np
    from statsmodels.regression.linear_model import OLS

    _, groups = np.unique([str(subject) for subject in subjects], return_inverse=True)
    values = np.asarray(differences, dtype=float)
    fit = OLS(values, np.ones_like(values)).fit(
        cov_type="cluster", cov_kwds={"groups": groups}, use_t=True
    )
    low, high = fit.conf_int(1 - confidence)[0]
    return float(low), float(high)
