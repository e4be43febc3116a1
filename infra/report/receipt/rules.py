"""The rules by which earlier versions judged, for checking their reports.

A report is right if it is what its own version made of the rows. What would come out otherwise
today is said beside it, and is no sign that anybody changed a number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from infra.contracts.records import MetricValue
from infra.judging.chance import Guessing
from infra.judging.comparison import Rules, Scored
from infra.suite.rows import Row, choice_likelihoods


class Observed:
    """Versions 1 and 2: units are derived from the rows, and no written answer is guessed."""

    def points(
        self, metric: str, task: str, values: tuple[MetricValue, MetricValue], scored: Scored
    ) -> bool:
        """Return whether every row happens to score between 0 and 1."""
        return bool(scored) and all(0 <= value <= 1 for row in scored for value in row)

    def guessing(self, metric: str, rows: Sequence[Row], better_higher: bool) -> Guessing:
        """Return the mean of one over the number of choices."""
        name, _, filter_name = metric.partition(",")
        if name == "exact_match":
            return Guessing(0.0)
        if name not in ("acc", "acc_norm", "acc_bytes"):
            return Guessing(None)
        choices = [choice_likelihoods(row.filtered.get(filter_name)) for row in rows]
        if not all(choices):
            return Guessing(None)
        return Guessing(math.fsum(1 / len(found) for found in choices if found) / len(rows))


RULES: Mapping[int, Rules] = {1: Observed(), 2: Observed()}
"""Version → its rules, where they are not those of this one."""

EARLIER = (
    "by the rules of version {version}, which wrote it: units were derived from the values of the "
    "rows, and a written answer was taken to be beyond guessing"
)

NOT_IN_1 = (
    "low", "high", "method", "p_value", "p_adjusted", "clusters", "chance", "luck", "recovery",
    "recovery_above_chance",
)  # fmt: skip
"""Of a compared metric: what version 1 did not compute, or by a method that is no more here."""
