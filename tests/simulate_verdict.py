"""Simulates whole comparisons and counts how often the verdict is wrong, and how often it is right.

    python -m tests.simulate_verdict --repeats 2000 --families 1000 --sequences 2000 --own 1000

Three tasks of 1,319, 400 and 448 rows are drawn as counts of a paired table, compared and judged by
the code that compares and judges real runs: one candidate at a time, several beside one baseline,
and one that may be stopped at any row. Metrics with a margin of their own are drawn in
`tests.simulate_own_margins`. Exits with 1 if an error rate is above its level by more
than chance explains, or power further than three points from the plan.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from infra.contracts.records import MetricComparison, MetricValue, RowComparison
from infra.contracts.specs import VerdictSpec
from infra.judging import statistics
from infra.judging.comparison import Compared, combine
from infra.judging.family import together
from infra.judging.statistics import PairedCounts
from infra.judging.verdict import decide
from tests.first_stop import first_stop

TASKS = {"gsm8k": (1319, 0.75), "global_mmlu_en": (400, 0.65), "gpqa_main_zeroshot": (448, 0.35)}
"""Rows, and the baseline's share of right ones."""

FLIP_RATES = (0.05, 0.1, 0.2, 0.3)
FAMILIES = (1, 2, 4, 8)
"""Candidates of a run."""

DROP = 0.03
TOLERANCE = 0.03
"""How far power may be from the plan."""

Rng = np.random.Generator
Tables: TypeAlias = dict[str, PairedCounts]
"""Task → its rows."""


def compared(task: str, counts: PairedCounts, confidence: float) -> Compared:
    """Return one task as the comparison of its rows would give it; the first arm is a candidate."""
    effect = statistics.binary_effect(counts, confidence)
    baseline, candidate = (
        MetricValue(value=(counts.both + only) / counts.n, stderr=None, n=counts.n)
        for only in (counts.second_only, counts.first_only)
    )
    metric = MetricComparison.model_construct(
        task=task, subtask_of=None, metric="acc,none", baseline=baseline, candidate=candidate,
        unit="points", difference=effect.difference, low=effect.limits[0], high=effect.limits[1],
        confidence=confidence, method=effect.method, p_value=effect.p_value, p_adjusted=None,
        clusters=None, chance=0.25, recovery=None, recovery_above_chance=None, pairs=counts.n,
        lost=counts.second_only, gained=counts.first_only, changed=effect.flips, primary=True,
    )  # fmt: skip
    return Compared(metric, effect)


def comparison_of(tables: Mapping[str, PairedCounts], confidence: float = 0.95) -> RowComparison:
    """Return the comparison of made tables, one a task."""
    return combine([compared(*item, confidence) for item in tables.items()], confidence)


def drawn(rng: Rng, flip_rate: float, drop: float) -> Tables:
    """Draw the rows of all tasks, which all lose the same."""
    tables = {}
    for task, (rows, right) in TASKS.items():
        lost, gained = (flip_rate + drop) / 2, (flip_rate - drop) / 2
        both = right - lost
        gains, losses, right_twice, neither = rng.multinomial(
            rows, [gained, lost, both, 1 - both - lost - gained]
        )
        tables[task] = PairedCounts(int(right_twice), int(gains), int(losses), int(neither))
    return tables


def statuses(
    rng: Rng, repeats: int, spec: VerdictSpec, flip_rate: float, drop: float
) -> dict[str, float]:
    """Return how often each verdict was given."""
    found: Counter[str] = Counter()
    for _ in range(repeats):
        comparison = comparison_of(drawn(rng, flip_rate, drop), spec.confidence)
        found[decide(comparison, spec, what="Quantization").status] += 1
    return {status: found[status] / repeats for status in ("PASS", "FAIL", "INCONCLUSIVE")}


def drawn_beside_one(rng: Rng, flip_rate: float, drops: Sequence[float]) -> list[Tables]:
    """Draw the rows of all tasks for several candidates, held against one draw of the baseline."""
    found: list[Tables] = [{} for _ in drops]
    for task, (rows, share) in TASKS.items():
        right = int(rng.binomial(rows, share))
        for tables, drop in zip(found, drops, strict=True):
            lost = int(rng.binomial(right, (flip_rate + drop) / 2 / share))
            gained = int(rng.binomial(rows - right, (flip_rate - drop) / 2 / (1 - share)))
            tables[task] = PairedCounts(right - lost, gained, lost, rows - right - gained)
    return found


def family_statuses(
    rng: Rng, repeats: int, spec: VerdictSpec, flip_rate: float, drops: Sequence[float]
) -> list[list[str]]:
    """Return the verdicts of each simulated run on its candidates, which lose `drops`."""
    each = spec.among(len(drops)).confidence
    found = []
    for _ in range(repeats):
        drawn_tables = drawn_beside_one(rng, flip_rate, drops)
        compared_all = together(
            {str(n): comparison_of(tables, each) for n, tables in enumerate(drawn_tables)}
        )
        found.append(
            [
                decide(one, spec, what="Quantization", candidates=len(drops)).status
                for one in compared_all.values()
            ]
        )
    return found


def share_of(runs: Sequence[Sequence[str]], status: str) -> float:
    """Return the share of runs in which any candidate has a verdict."""
    return sum(status in statuses for statuses in runs) / len(runs)


def sequence(rng: Rng, rows: int, flip_rate: float, drop: float) -> list[int]:
    """Draw the differences of single rows."""
    shares = [(flip_rate + drop) / 2, 1 - flip_rate, (flip_rate - drop) / 2]
    return [int(d) for d in rng.choice([-1, 0, 1], rows, p=shares)]


def stops(
    rng: Rng, sequences: int, rows: int, flip_rate: float, drop: float, margin: float
) -> tuple[dict[str | None, float], float]:
    """Return how often the sequential test ended in each way, and the mean of the rows it took."""
    ends = [first_stop(sequence(rng, rows, flip_rate, drop), margin) for _ in range(sequences)]
    found = Counter(end.outcome for end in ends)
    shares = {outcome: found[outcome] / sequences for outcome in ("PASS", "FAIL", None)}
    return shares, float(np.mean([end.rows for end in ends]))


def most(level: float, repeats: int) -> float:
    """Return the largest share that a true rate of `level` still explains (99.9 %)."""
    from scipy.stats import binom

    return float(binom.ppf(0.999, repeats, level)) / repeats


def fixed(rng: Rng, repeats: int, spec: VerdictSpec) -> bool:
    """Print the table of the verdict over all rows; return whether it holds."""
    rows, margin = sum(n for n, _ in TASKS.values()), spec.margin_points / 100
    level = 1 - spec.confidence
    print(
        f"Verdict, margin {spec.margin_points:g} points, {rows:,} rows, {repeats:,} repeats a cell"
    )
    print("| flips | false FAIL, no change | false PASS, at the margin | FAIL, 3-point drop | "
          "planned | not PASS, 3-point drop | smallest drop | PASS, no change |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    good = True
    for flip_rate in FLIP_RATES:
        none = statuses(rng, repeats, spec, flip_rate, 0.0)
        edge = statuses(rng, repeats, spec, flip_rate, margin)
        drop = statuses(rng, repeats, spec, flip_rate, DROP)
        planned = statistics.paired_power(rows, flip_rate, DROP, level)
        smallest = statistics.smallest_drop(rows, flip_rate, spec.power, level)
        print(f"| {flip_rate:.0%} | {none['FAIL']:.1%} | {edge['PASS']:.1%} | {drop['FAIL']:.1%} | "
              f"{planned:.1%} | {1 - drop['PASS']:.1%} | {smallest * 100:.1f} points | "
              f"{none['PASS']:.1%} |")  # fmt: skip
        good &= max(none["FAIL"], edge["PASS"]) <= most(level, repeats)
        chance = 3 * math.sqrt(planned * (1 - planned) / repeats)
        good &= abs(drop["FAIL"] - planned) <= TOLERANCE + chance
    return good


def families(rng: Rng, repeats: int, spec: VerdictSpec, flip_rate: float = 0.1) -> bool:
    """Print the table of several candidates in a run; return whether it holds."""
    rows, margin = sum(n for n, _ in TASKS.values()), spec.margin_points / 100
    level = 1 - spec.confidence
    print(f"\nSeveral candidates beside one baseline, {rows:,} rows, {flip_rate:.0%} flips, margin "
          f"{spec.margin_points:g} points, {repeats:,} runs a cell")  # fmt: skip
    print("| candidates | any false FAIL, no change | any false PASS, all at the margin | "
          "any false FAIL beside a 3-point drop | FAIL of that one | planned |")  # fmt: skip
    print("|---|---|---|---|---|---|")
    good = True
    for candidates in FAMILIES:
        none = family_statuses(rng, repeats, spec, flip_rate, [0.0] * candidates)
        edge = family_statuses(rng, repeats, spec, flip_rate, [margin] * candidates)
        one_bad = family_statuses(rng, repeats, spec, flip_rate, [DROP, *[0.0] * (candidates - 1)])
        bad, others = [run[:1] for run in one_bad], [run[1:] for run in one_bad]
        planned = statistics.paired_power(rows, flip_rate, DROP, level / candidates)
        errors = [share_of(none, "FAIL"), share_of(edge, "PASS"), share_of(others, "FAIL")]
        power = share_of(bad, "FAIL")
        print(f"| {candidates} | {errors[0]:.1%} | {errors[1]:.1%} | {errors[2]:.1%} | "
              f"{power:.1%} | {planned:.1%} |")  # fmt: skip
        good &= max(errors) <= most(level, repeats)
        good &= abs(power - planned) <= TOLERANCE + 3 * math.sqrt(planned * (1 - planned) / repeats)
    return good


def sequential(rng: Rng, sequences: int, margin: float = 0.01) -> bool:
    """Print the table of the sequential test; return whether it keeps its level."""
    print(f"\nSequential test, stopped at any row, {sequences:,} sequences a cell")
    print("| rows | flips | margin | FAIL ever, no change | PASS ever, at the margin | "
          "FAIL ever, 3-point drop | its rows | PASS ever, no change | its rows |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    good = True
    for rows, flip_rate, within in (
        *((2167, rate, margin) for rate in FLIP_RATES),
        (14_000, 0.1, margin),
        (2167, 0.1, 0.03),
    ):
        none, until_pass = stops(rng, sequences, rows, flip_rate, 0.0, within)
        edge, _ = stops(rng, sequences, rows, flip_rate, within, within)
        drop, until_fail = stops(rng, sequences, rows, flip_rate, DROP, within)
        print(f"| {rows:,} | {flip_rate:.0%} | {within * 100:g} | {none['FAIL']:.1%} | "
              f"{edge['PASS']:.1%} | {drop['FAIL']:.1%} | {until_fail:,.0f} | {none['PASS']:.1%} | "
              f"{until_pass:,.0f} |")  # fmt: skip
        good &= max(none["FAIL"], edge["PASS"]) <= most(0.05, sequences)
    return good


def main() -> int:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--families", type=int, default=1000, help="runs of several candidates")
    parser.add_argument("--sequences", type=int, default=2000)
    parser.add_argument("--own", type=int, default=200, help="repeats of margins by metric")
    parser.add_argument("--margin", type=float, default=1.0, help="points")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    from tests.simulate_own_margins import own_margins  # which draws these tasks, too

    rng = np.random.default_rng(chosen.seed)
    good = fixed(rng, chosen.repeats, VerdictSpec(margin_points=chosen.margin))
    good &= families(rng, chosen.families, VerdictSpec(margin_points=chosen.margin))
    good &= sequential(rng, chosen.sequences, chosen.margin / 100)
    good &= own_margins(rng, chosen.own)
    print("\nAll levels are kept." if good else "\nA level is missed.")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
