"""Simulates questions that are asked several times each, and counts how often a verdict is wrong.

    python -m tests.simulate_repeats --repeats 1000 --questions 60 200 800 --times 2 4 8

Each question has a chance of its own to be answered rightly, near 0 or 1 for most; both arms draw
with the same seeds, most of which come to the same answer where chances are the same. The candidate
loses in one of two ways: a little of each question that it was not sure of, or few questions whole,
which all repeats of them share. Log losses, in nats, are drawn beside them, with noise of the
question that all its repeats share and noise of each repeat. Rows are compared and judged by the
code that compares and judges real runs.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from infra.contracts.records import MetricComparison, MetricValue
from infra.contracts.specs import VerdictSpec
from infra.judging.comparison import Compared, combine
from infra.judging.statistics import (
    Asked,
    Effect,
    mean_of,
    randomization_test,
    repeated_effect,
    smallest_margin_of,
)
from infra.judging.verdict import decide
from tests.simulate_verdict import most

Rng = np.random.Generator
Way = Literal["little", "whole"]

CONFIDENCE, POWER = 0.95, 0.8
QUESTIONS, TIMES = (60, 200, 800), (2, 4, 8)

_SURE = (0.6, 0.25)
"""Of the beta distribution of chances: 70 % right, most questions nearly always or never."""

_RIGHT = _SURE[0] / sum(_SURE)
_UNSURE = _SURE[0] * _SURE[1] / (sum(_SURE) * (sum(_SURE) + 1))
"""Mean of p (1 - p)."""

_SHARED = 0.5
"""Of answers, whose draw is the same in both arms."""

FLIPS = 2 * _UNSURE * (1 - _SHARED)
"""Share of rows that only one arm has right, without a change."""

_ALIKE = 0.3
"""What the margin is planned with: more than there is where no question is lost whole."""

_BETWEEN, _WITHIN = 0.06, 0.08
"""Nats that questions differ by between the arms, and single repeats of a question."""


def margin_of(questions: int, times: int) -> float:
    """Return the margin that is planned to be kept by four of five models without loss."""
    return smallest_margin_of([Asked(questions, FLIPS, times, _ALIKE)], POWER, CONFIDENCE)


def nats_margin(questions: int, times: int) -> float:
    """Return a margin of about 3.5 standard errors, in nats."""
    return 3.5 * math.sqrt((_BETWEEN**2 + _WITHIN**2 / times) / questions)


def right_or_wrong(rng: Rng, questions: int, times: int, loss: float, way: Way) -> Compared:
    """Draw questions whose mean falls by `loss`."""
    before = rng.beta(*_SURE, questions)
    if way == "little":
        after = before - loss * before * (1 - before) / _UNSURE
    else:
        after = np.where(rng.random(questions) < loss / _RIGHT, 0.0, before)
    size = questions, times
    draws = rng.random(size)
    others = np.where(rng.random(size) < _SHARED, draws, rng.random(size))
    one = (draws < before[:, None]).astype(float)
    other = (others < np.clip(after, 0, 1)[:, None]).astype(float)
    return _compared(one, other, "points", higher_is_better=True)


def nats(rng: Rng, questions: int, times: int, loss: float, way: Way) -> Compared:
    """Draw log losses whose mean grows by `loss`; skewed where there is any, heavy-tailed else."""
    one = rng.gamma(4.0, 0.3, (questions, times))
    if loss:
        shared = _BETWEEN * (rng.gamma(4.0, 1.0, questions) - 4) / 2
    else:
        shared = _BETWEEN * rng.standard_t(3, questions) / math.sqrt(3)
    alone = _WITHIN * rng.standard_normal((questions, times))
    return _compared(one, one + loss + shared[:, None] + alone, "nats", higher_is_better=False)


def _compared(one: Any, other: Any, unit: Any, *, higher_is_better: bool) -> Compared:
    effect = repeated_effect(one.tolist(), other.tolist(), CONFIDENCE)
    assert effect is not None
    p_value = effect.p_value
    if p_value is None:
        arms = (arm.mean(axis=1)[:, None] for arm in (one, other))
        p_value = randomization_test(*arms, mean_of(len(one)))
    values = [
        MetricValue(value=float(arm.mean()), stderr=None, n=arm.size, unit=unit,
                    higher_is_better=higher_is_better)
        for arm in (one, other)
    ]  # fmt: skip
    metric = "exact_match,none" if higher_is_better else "log_loss,none"
    return Compared(_metric(effect, metric, values, unit, p_value, one.shape), effect)


def _metric(
    effect: Effect, metric: str, values: Sequence[MetricValue], unit: str, p_value: float,
    shape: tuple[int, int],
) -> MetricComparison:  # fmt: skip
    return MetricComparison.model_construct(
        task=metric, subtask_of=None, metric=metric, baseline=values[0], candidate=values[1],
        unit="points" if unit == "points" else "value", breach="", difference=effect.difference,
        low=effect.limits[0], high=effect.limits[1], confidence=CONFIDENCE, method="",
        p_value=p_value, p_adjusted=None, pairs=shape[0] * shape[1], repeats=shape[1], lost=0,
        gained=0, changed=0, primary=True, clusters=None, chance=0.0, luck=None,
    )  # fmt: skip


def share(status: str, repeats: int, spec: VerdictSpec, draw: Callable[[], Compared]) -> float:
    """Return how often a comparison gets a verdict."""
    found = 0
    for _ in range(repeats):
        found += decide(combine([draw()], CONFIDENCE), spec, what="it").status == status
    return found / repeats


def in_points(rng: Rng, repeats: int, sizes: Sequence[int], times: Sequence[int]) -> bool:
    """Print the table of answers that are right or wrong; return whether it holds."""
    print(f"Right or wrong, {repeats:,} repeats a cell, {FLIPS:.1%} of the rows flip")
    print(
        "| questions | asked | margin, points | false FAIL, no change | false PASS, a little of "
        "each | false PASS, whole questions | FAIL at twice the margin | PASS, no change |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")  # fmt: skip
    good = True
    for questions in sizes:
        for often in times:
            margin = margin_of(questions, often)
            points = 100 * margin
            spec = VerdictSpec(margin_points=points, task_margin_points=points)
            draw = partial(right_or_wrong, rng, questions, often)
            few = max(1, repeats // 2)
            failed = share("FAIL", repeats, spec, partial(draw, 0.0, "little"))
            little = share("PASS", repeats, spec, partial(draw, margin, "little"))
            whole = share("PASS", repeats, spec, partial(draw, margin, "whole"))
            lost = share("FAIL", few, spec, partial(draw, 2 * margin, "whole"))
            kept = share("PASS", few, spec, partial(draw, 0.0, "little"))
            print(f"| {questions} | {often} | {points:.1f} | {failed:.1%} | {little:.1%} | "
                  f"{whole:.1%} | {lost:.1%} | {kept:.1%} |", flush=True)  # fmt: skip
            good &= max(failed, little, whole) <= most(1 - CONFIDENCE, repeats)
            # Differences are less alike within a question than is assumed: planned to be kept.
            good &= kept >= POWER - 0.03 - 3 * math.sqrt(POWER * (1 - POWER) / few)
    return good


def in_nats(rng: Rng, repeats: int, sizes: Sequence[int], times: Sequence[int]) -> bool:
    """Print the table of log losses; return whether it holds."""
    print(f"\nLog loss, {repeats:,} repeats a cell")
    print(
        "| questions | asked | margin, nats | false FAIL, no change | false PASS, at the margin | "
        "FAIL at twice the margin | PASS, no change |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|")  # fmt: skip
    good = True
    for questions in sizes:
        for often in times:
            margin = nats_margin(questions, often)
            spec = VerdictSpec(margins={"log_loss": margin})
            draw = partial(nats, rng, questions, often)
            few = max(1, repeats // 5)
            failed = share("FAIL", repeats, spec, partial(draw, 0.0, "little"))
            passed = share("PASS", repeats, spec, partial(draw, margin, "little"))
            lost = share("FAIL", few, spec, partial(draw, 2 * margin, "little"))
            kept = share("PASS", few, spec, partial(draw, 0.0, "little"))
            print(f"| {questions} | {often} | {margin:.3g} | {failed:.1%} | {passed:.1%} | "
                  f"{lost:.1%} | {kept:.1%} |", flush=True)  # fmt: skip
            good &= max(failed, passed) <= most(1 - CONFIDENCE, repeats)
    return good


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=1000, help="comparisons that are drawn")
    parser.add_argument("--questions", type=int, nargs="+", default=QUESTIONS)
    parser.add_argument("--times", type=int, nargs="+", default=TIMES)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    rng = np.random.default_rng(chosen.seed)
    good = in_points(rng, chosen.repeats, chosen.questions, chosen.times)
    good &= in_nats(rng, max(1, chosen.repeats // 2), chosen.questions, chosen.times[-1:])
    print("\nAll levels are kept." if good else "\nA level is missed.")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
