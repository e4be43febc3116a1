"""How several answers rank a list, and what a ranking is worth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating[Any]]

AT = 25
"""Places of a ranking that count."""


def borda_points(worths: Numbers) -> Numbers:
    """Return the points of each candidate by Borda's count, over all ballots.

    On a ballot a candidate has as many points as there are candidates below it; of those that are
    worth the same, each has the mean of their points.

    Args:
        worths: One ballot a row: what each candidate is worth, more being better.
    """
    from scipy.stats import rankdata

    below: Numbers = np.asarray(rankdata(worths, axis=1, method="average")) - 1
    total: Numbers = below.sum(axis=0)
    return total


def ranking(worths: Numbers) -> NDArray[np.intp]:
    """Return the numbers of the candidates, the best first, by Borda's count over all ballots.

    Of those with equal points the one with the higher mean worth comes first, then the one that
    stands first in the list.
    """
    points, means = borda_points(worths), worths.mean(axis=0)
    return np.lexsort((np.arange(len(points)), -means, -points))


def precision_of_place(place: int) -> float:
    """Return the average precision of a ranking in which the one right candidate has a place.

    Args:
        place: From 1; beyond the places that count it is 0.
    """
    return 1 / place if place <= AT else 0.0


def chance(candidates: int) -> dict[str, float]:
    """Return what a ranking by lot scores, by metric."""
    counted = range(1, min(AT, candidates) + 1)
    return {
        "map_at_25": sum(map(precision_of_place, counted)) / candidates,
        "recall_at_25": len(counted) / candidates,
        "rank": (candidates + 1) / 2,
    }
