"""A test that may be looked at after every row, and stopped when it pleases.

Betting: a gambler who starts with one unit stakes a share of the capital on every row being better
than a supposed mean. If that mean is the true one, no strategy multiplies the capital by 1 / a at
any time with a chance above a (J. Ville 1939). How much to stake is not known beforehand, so the
capital is spread over many strategies: H. Robbins (1970), "Statistical methods related to the law
of the iterated logarithm", Annals of Mathematical Statistics 41, 1397-1409, for the mixture;
I. Waudby-Smith & A. Ramdas (2024), "Estimating means of bounded random variables by betting",
Journal of the Royal Statistical Society B 86, 1-27, for the mean of bounded rows. With D in
[-1, 1] the difference of one row (candidate minus baseline), m the supposed mean and u in (0, 1)
the stake, a row multiplies the capital of one strategy by

    1 + u ((D + 1) / (m + 1) - 1)

which no row makes negative, has mean 1 under m, and falls in m: limits follow by bisection.

Rows have to come in an order that has nothing to do with their answers: shuffled once, over all
tasks. A question that is asked several times is one row, with the mean of its differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from infra.contracts.records import Pooled
from infra.contracts.specs import VerdictSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BETTING = "anytime-valid, by betting on rows in shuffled order (Waudby-Smith & Ramdas 2024)"

LOOKING_EARLY = 1.65
"""How much wider a loss or a margin has to be for the leave to look at any time, with as many rows:
the margin that a model without loss keeps here, over the one that it keeps by a single look at the
end. Drawn with 400 to 8,000 rows of which 5 to 30 % flip, 1.57 to 1.75 at a confidence of 0.95 and
1.38 to 1.62 at 0.975; `tests/infra/judging/test_sequential.py` draws it again."""

_RIGHT_OR_WRONG = (-1.0, 0.0, 1.0)
"""What rows that are right or wrong may differ by."""

_STAKES = 40
_SMALLEST_STAKE, _LARGEST_STAKE = 0.004, 0.98
"""The best stake is about effect over flip rate: 0.1 points of 25 %, up to every flip a loss."""

_HALVINGS = 40


def room(verdict: VerdictSpec) -> float:
    """Return how many times as wide a loss or margin has to be as for a single look at the end."""
    return LOOKING_EARLY if verdict.early_stop else 1.0


def lower_limits(differences: Sequence[float], confidence: float) -> Floats:
    """Return the one-sided lower limit of the true mean after every row.

    All of them hold at once with the given confidence. For upper limits, turn all signs.

    Args:
        differences: Of each row, from -1 to 1, in shuffled order.
        confidence: One-sided.
    """
    import numpy as np

    values = (*sorted({*_RIGHT_OR_WRONG, *differences}),)
    counts = _running_counts(differences, values)
    threshold = -np.log(1 - confidence)
    low, high = np.full(len(counts), -1.0), np.ones(len(counts))
    for _ in range(_HALVINGS):  # the capital falls in the supposed mean
        middle = (low + high) / 2
        beaten = _log_capital(counts, middle, values) >= threshold
        low, high = np.where(beaten, middle, low), np.where(beaten, high, middle)
    return low


def pooled_so_far(differences: Sequence[float], tasks: Sequence[str], confidence: float) -> Pooled:
    """Return the effect over the rows so far, for a verdict at any time.

    Args:
        differences: Candidate minus baseline of each row, from -1 to 1, in the order they came.
        tasks: Where the rows are from.
        confidence: See `VerdictSpec`.
    """
    rows = len(differences)
    two_sided = (1 + confidence) / 2
    return Pooled(
        tasks=tuple(tasks),
        rows=rows,
        flip_rate=sum(abs(d) for d in differences) / rows,
        difference=sum(differences) / rows,
        low=float(lower_limits(differences, two_sided)[-1]),
        high=-float(lower_limits([-d for d in differences], two_sided)[-1]),
        confidence=confidence,
        bound=float(lower_limits(differences, confidence)[-1]),
        method=BETTING,
    )


def _running_counts(
    differences: Sequence[float], values: Sequence[float] = _RIGHT_OR_WRONG
) -> Floats:
    """Return how many rows had each value after each row.

    Args:
        differences: Of each row.
        values: Those that there are.
    """
    import numpy as np

    rows = np.asarray(differences, dtype=np.float64)
    kinds = rows[:, None] == np.asarray(values, dtype=np.float64)
    if not rows.size or not kinds.any(axis=1).all() or np.abs(rows).max() > 1:
        raise ValueError("rows have to lie between 0 and 1 in both arms")
    counts: Floats = kinds.cumsum(axis=0, dtype=np.float64)
    return counts


def _log_capital(
    counts: Floats, mean: float | Floats, values: Sequence[float] = _RIGHT_OR_WRONG
) -> Floats:
    """Return the logarithm of the capital after each row, won on rows being above a mean.

    Args:
        counts: Rows of each value so far.
        mean: The supposed mean, above -1; one for all rows, or one for each.
        values: What a row may differ by.
    """
    import numpy as np

    stakes = np.geomspace(_SMALLEST_STAKE, _LARGEST_STAKE, _STAKES)
    means = np.asarray(mean, dtype=float).reshape(-1, 1)
    capital = np.zeros((1, _STAKES))
    for number, value in enumerate(values):
        won = np.log1p(stakes * ((value + 1) / (means + 1) - 1))
        capital = capital + counts[:, number, None] * won
    most = capital.max(axis=1, keepdims=True)  # the sum of exponentials alone would overflow
    total = np.exp(capital - most).sum(axis=1)
    return np.asarray(most[:, 0] + np.log(total / _STAKES))
