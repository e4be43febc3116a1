"""How many of several events happen that each have a chance of their own."""

from __future__ import annotations

from collections.abc import Sequence

POISSON_BINOMIAL = "Poisson-binomial limits (Hong 2013)"


def poisson_binomial_limits(chances: Sequence[float], confidence: float) -> tuple[int, int]:
    """Return the numbers of events between which it falls, the chances being what they are.

    The number of independent events with chances p has the distribution that comes of folding
    (1 - p, p) of each into that of the others; Y. Hong (2013), "On computing the distribution
    function for the Poisson binomial distribution", Computational Statistics & Data Analysis 59,
    41-51. Below the lower limit, and above the upper one, it falls with a chance of at most half of
    what the confidence leaves.

    Args:
        chances: One an event.
        confidence: Two-sided.
    """
    import numpy as np

    # SciPy's distribution takes no more than 63 events. In pairs, so that it stays fast with many.
    parts = [np.array([1 - p, p]) for p in chances if p > 0] or [np.ones(1)]
    while len(parts) > 1:
        last = parts[len(parts) // 2 * 2 :]
        folded = map(np.convolve, parts[::2], parts[1::2])
        parts = [*folded, *last]
    below = np.cumsum(parts[0])
    tail = (1 - confidence) / 2
    low, high = np.searchsorted(below, [tail, 1 - tail])
    return int(low), min(int(high), len(below) - 1)
