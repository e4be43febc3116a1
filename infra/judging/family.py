"""Several candidates in one run: what looking at all of them costs each."""

from __future__ import annotations

from collections.abc import Mapping

from infra.contracts.records import Comparison
from infra.judging.comparison import decides
from infra.judging.statistics import holm


def together(found: Mapping[str, Comparison]) -> dict[str, Comparison]:
    """Return comparisons whose p-values are adjusted for each other, over candidates and tasks.

    Args:
        found: Candidate → its comparison.
    """
    places = [
        (name, place)
        for name, comparison in found.items()
        for place, metric in enumerate(comparison.metrics)
        if decides(metric) and metric.p_value is not None
    ]
    raw = [found[name].metrics[place].p_value for name, place in places]
    adjusted = dict(zip(places, holm([p for p in raw if p is not None]), strict=True))
    return {
        name: comparison.model_copy(
            update={
                "metrics": tuple(
                    metric.model_copy(update={"p_adjusted": adjusted[name, place]})
                    if (name, place) in adjusted
                    else metric
                    for place, metric in enumerate(comparison.metrics)
                )
            }
        )
        for name, comparison in found.items()
    }
