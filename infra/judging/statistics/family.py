"""Many tests at once: one of twenty finds something by chance."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for each other.

    S. Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal
    of Statistics 6, 65-70: holds the chance of any false finding, however the tests depend.
    """
    # statsmodels' multipletests gives the same, and collects the process's garbage at every call.
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, float(p_values[place]) * (len(p_values) - rank))
        adjusted[place] = min(highest, 1.0)
    return adjusted
