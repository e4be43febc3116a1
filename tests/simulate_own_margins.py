"""Simulates metrics that have a margin of their own, and counts how often their verdict is wrong.

    python -m tests.simulate_own_margins --repeats 1000 --rows 62 300

A perplexity of documents of unequal length, and a mean of negative log-likelihoods, nats. Rows are
drawn, compared and judged by the code that compares and judges real runs. What the arms do not
share has heavy tails (Student's t with 3 degrees of freedom) where there is no change. Where the
candidate loses, it is skewed: somewhat (gamma with shape 4), or so much that few rows lose most
(lognormal with sigma 1). What few rows have not shown, no resampling of them can know, so that the
last is shown and held to no level.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal, cast

import numpy as np

from infra.contracts.records import MetricComparison, MetricValue
from infra.contracts.specs import VerdictSpec
from infra.judging.comparison import Compared, combine
from infra.judging.corpus import corpus_effect
from infra.judging.pairing import RowPair
from infra.judging.statistics import Effect, effect_of, mean_of, randomization_test
from infra.judging.verdict import decide
from tests import simulate_verdict

Rng = np.random.Generator
Shape = Literal["even", "skewed", "very skewed"]
Draw = Callable[[Rng, int, float, Shape], Compared]
"""Rows, true loss in the metric's unit, and how rows differ → the metric, compared."""

ROWS = (62, 300)
_LEVEL, _SPREAD = 3.0, 0.06
"""Mean negative log-likelihood of a word, and what rows differ by between the arms; nats."""

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Case:
    """A metric whose rows are drawn."""

    metric: str
    draw: Draw
    errors: float
    """Standard error of the difference with one row, about: margins are given in such errors."""

    def margin(self, rows: int) -> float:
        """Return a margin that so many rows can resolve."""
        return 3.5 * self.errors / math.sqrt(rows)


def noise(rng: Rng, rows: int, shape: Shape) -> Any:
    """Draw what rows differ by, with mean zero."""
    if shape == "even":
        return _SPREAD * rng.standard_t(3, rows) / math.sqrt(3)
    if shape == "skewed":
        return _SPREAD * (rng.gamma(4.0, 1.0, rows) - 4) / 2
    return (
        _SPREAD * (rng.lognormal(0.0, 1.0, rows) - math.exp(0.5)) / math.sqrt((math.e - 1) * math.e)
    )


def perplexity(rng: Rng, rows: int, loss: float, shape: Shape) -> Compared:
    """Draw documents of unequal length, whose perplexity grows by `loss`."""
    words = np.round(rng.lognormal(5.0, 0.7, rows) + 10)
    rates = rng.normal(_LEVEL, 0.3, rows)
    shift = math.log1p(loss / math.exp(_LEVEL))
    worse = shift + noise(rng, rows, shape)
    one, other = -words * rates, -words * (rates + worse)
    metric = "word_perplexity,none"
    pairs = cast(Sequence[RowPair], [
        SimpleNamespace(baseline=SimpleNamespace(metrics={metric: [a, w]}),
                        candidate=SimpleNamespace(metrics={metric: [b, w]}))
        for a, b, w in zip(one, other, words, strict=True)
    ])  # fmt: skip
    values = [math.exp(-arm.sum() / words.sum()) for arm in (one, other)]
    both = (_value(values[0], rows, "value"), _value(values[1], rows, "value"))
    effect, _ = corpus_effect(metric, both, pairs, CONFIDENCE)
    return _compared("wikitext", metric, both, effect)


def nats(rng: Rng, rows: int, loss: float, shape: Shape) -> Compared:
    """Draw rows whose mean negative log-likelihood grows by `loss`."""
    one = rng.gamma(4.0, _LEVEL / 4, rows)
    other = one + loss + noise(rng, rows, shape)
    values = (_value(float(one.mean()), rows, "nats"), _value(float(other.mean()), rows, "nats"))
    effect = effect_of([*map(float, one)], [*map(float, other)], CONFIDENCE)
    p_value = randomization_test(one[:, None], other[:, None], mean_of(rows))
    return _compared("texts", "nll,none", values, effect, p_value)


CASES = {
    "word_perplexity": Case("word_perplexity", perplexity, math.exp(_LEVEL) * _SPREAD * 1.25),
    "nll": Case("nll", nats, _SPREAD),
}


def _value(value: float, rows: int, unit: Any) -> MetricValue:
    return MetricValue(value=value, stderr=None, n=rows, higher_is_better=False, unit=unit)


def _compared(
    task: str,
    metric: str,
    values: tuple[MetricValue, MetricValue],
    effect: Effect | None,
    p_value: float | None = None,
) -> Compared:
    low, high = effect.limits if effect else (None, None)
    found = MetricComparison.model_construct(
        task=task, subtask_of=None, metric=metric, baseline=values[0], candidate=values[1],
        unit="value", breach="", difference=values[1].value - values[0].value, low=low, high=high,
        confidence=CONFIDENCE, method="", p_value=effect.p_value if effect and p_value is None
        else p_value, p_adjusted=None, pairs=values[0].n, lost=0, gained=0, changed=values[0].n,
        primary=True, clusters=None, chance=None, luck=None,
    )  # fmt: skip
    return Compared(found, effect)


def share(
    status: str, repeats: int, spec: VerdictSpec, draw: Callable[[], Sequence[Compared]]
) -> float:
    """Return how often a comparison gets a verdict."""
    found = 0
    for _ in range(repeats):
        found += decide(combine(draw(), CONFIDENCE), spec, what="it").status == status
    return found / repeats


def own_margins(rng: Rng, repeats: int, sizes: Sequence[int] = ROWS) -> bool:
    """Print the table of metrics with a margin of their own; return whether it holds.

    No change: both metrics beside the three tasks of `simulate_verdict`, of which 10 % of the rows
    flip, so that everything that can fail is there. A loss: the metric alone, so that nothing else
    hinders a PASS.
    """
    print(f"\nMargins by metric, {repeats:,} repeats a cell")
    print("| rows | metric | margin | any false FAIL, no change | false PASS, at the margin | "
          "where few rows lose most | FAIL, twice the margin | PASS, no change |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    good = True
    for rows in sizes:
        spec = VerdictSpec(margins={name: case.margin(rows) for name, case in CASES.items()})

        def unchanged(rows: int = rows) -> list[Compared]:
            tables = simulate_verdict.drawn(rng, 0.1, 0.0)
            beside = [simulate_verdict.compared(*one, CONFIDENCE) for one in tables.items()]
            return [*beside, *(case.draw(rng, rows, 0.0, "even") for case in CASES.values())]

        failed = share("FAIL", repeats, spec, unchanged)
        for name, case in CASES.items():
            margin = case.margin(rows)

            def alone(
                loss: float, shape: Shape, case: Case = case, rows: int = rows
            ) -> list[Compared]:
                return [case.draw(rng, rows, loss, shape)]

            passed = share("PASS", repeats, spec, partial(alone, margin, "skewed"))
            unseen = share("PASS", repeats, spec, partial(alone, margin, "very skewed"))
            # No levels: a share of the repeats is enough.
            lost = share("FAIL", max(1, repeats // 5), spec, partial(alone, 2 * margin, "skewed"))
            kept = share("PASS", max(1, repeats // 5), spec, partial(alone, 0.0, "even"))
            print(f"| {rows} | {name} | {margin:.3g} | {failed:.1%} | {passed:.1%} | "
                  f"{unseen:.1%} | {lost:.1%} | {kept:.1%} |", flush=True)  # fmt: skip
            good &= max(failed, passed) <= simulate_verdict.most(1 - CONFIDENCE, repeats)
    return good


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    good = own_margins(np.random.default_rng(chosen.seed), chosen.repeats, chosen.rows)
    print("\nAll levels are kept." if good else "\nA level is missed.")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
