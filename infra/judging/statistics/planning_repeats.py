"""What questions can show that are asked several times each, before they are answered.

Repeats take chance out of each question's score, and leave what differs between questions. Limits
allow for whole questions being lost that are not among these (see `repeated`), which no repeats can
make up for: more questions always show more than as many repeats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

from infra.judging.statistics.repeated import effective_rows, score_limit

_NORMAL = NormalDist()
_HALVINGS = 50
_MOST = 2.0**30
"""Times as many questions, beyond which nobody asks."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The questions of one task."""

    questions: int
    flip_rate: float
    """Share of answers that only one arm has right."""

    times: int = 1
    """How often each is asked."""

    alike: float = 1.0
    """Correlation of the differences of one question's answers."""

    @property
    def effective(self) -> float:
        """Questions, asked once, that show as much."""
        return effective_rows(self.questions, self.times, self.alike)

    @property
    def spread(self) -> float:
        """Variance of a question's difference, if the arms do not differ."""
        return self.flip_rate * self.questions / self.effective

    def reach(self, loss: float, confidence: float) -> float:
        """Return how far the limit lies from what is seen: below it, or above if that is a loss.

        Args:
            loss: That is seen, as a share; 0 for none.
            confidence: Of the limit, two-sided.
        """
        if self.times == 1:  # as `planning` has it, for limits that are Tango's
            z = _NORMAL.inv_cdf((1 + confidence) / 2)
            return z * math.sqrt(max(self.flip_rate, loss) / self.questions)
        return loss - score_limit(self.questions, loss, self.spread, confidence)


def smallest_margin_of(tasks: Sequence[Asked], power: float, confidence: float) -> float:
    """Return the smallest margin that all tasks together resolve; see `smallest_margin`.

    Args:
        tasks: With at least one question in all, each counting once.
        power: Chance to show it if there is no loss.
        confidence: One-sided, of the lower limit.
    """
    reach = _together(tasks, lambda task: task.reach(0.0, 2 * confidence - 1) ** 2)
    chance = _together(tasks, lambda task: task.spread / task.questions)
    return min(1.0, reach + _NORMAL.inv_cdf(power) * chance)


def smallest_drop_of(tasks: Sequence[Asked], power: float, alpha: float) -> float:
    """Return the smallest true loss that all tasks together show; see `smallest_drop`.

    Args:
        tasks: With at least one question in all, each counting once.
        power: Chance to find the loss.
        alpha: Two-sided level of the test.
    """
    quantile = _NORMAL.inv_cdf(power)

    def is_found(loss: float) -> bool:
        reach = _together(tasks, lambda task: task.reach(loss, 1 - alpha) ** 2)
        chance = _together(tasks, lambda task: max(task.spread, loss * loss) / task.questions)
        return loss >= reach + quantile * chance

    low, high = 0.0, 1.0
    if not is_found(high):
        return 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high


def questions_for_margin(
    tasks: Sequence[Asked], margin: float, power: float, confidence: float
) -> int:
    """Return how many questions it takes to resolve a margin, of the same tasks asked as often."""
    low, high = 0.0, 1.0

    def resolves(times: float) -> bool:
        more = [replace(task, questions=max(1, math.ceil(task.questions * times)))
                for task in tasks]  # fmt: skip
        return smallest_margin_of(more, power, confidence) <= margin

    while not resolves(high):
        low, high = high, 2 * high
        if high > _MOST:
            break
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if resolves(middle) else (middle, high)
    return sum(max(1, math.ceil(task.questions * high)) for task in tasks)


def _together(tasks: Sequence[Asked], of: Callable[[Asked], float]) -> float:
    """Return the root of what tasks add up to, each by its share of the questions."""
    total = sum(task.questions for task in tasks)
    return math.sqrt(
        math.fsum((task.questions / total) ** 2 * of(task) for task in tasks if task.questions)
    )
