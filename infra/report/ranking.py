"""Several candidates beside each other: what each costs, what it buys, and which are worth it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.contracts import wording
from infra.contracts.records import ArmResult, Bench, MetricValue, Pair, Report
from infra.probes.speed.comparing import shortest_prompts
from infra.report import energy
from infra.report.changed import changed
from infra.report.tables import Table
from infra.suite.metrics import in_points

_ORDER = ("PASS", "INCONCLUSIVE", "FAIL")


@dataclass(frozen=True, slots=True)
class Standing:
    """One arm as it stands beside the others."""

    name: str
    status: str
    """Of its verdict; empty for the baseline."""

    what: str
    """What it changes."""

    loss: tuple[float, float, float] | None
    """Loss over all rows and the ends of its interval, percentage points; none without such rows.
    The baseline loses nothing."""

    size_bytes: int
    """Of the weights on disk."""

    memory_bytes: int | None
    """Of the weights, loaded; none where the engine did not say."""

    tokens_per_second: float | None
    """Written at the most requests at a time that were timed; none if it was not timed."""

    first_token_ms: float | None
    """Median time to the first token, one request at a time or the fewest that were timed."""

    joules_per_right: float | None = None
    """Energy of a right answer, of all tasks together; none where nobody can tell."""

    @property
    def is_baseline(self) -> bool:
        """Whether the others are held against it."""
        return not self.status


def standings(report: Report) -> list[Standing]:
    """Return the baseline, then every candidate with a result, the best first.

    Best is who passes; among those of one verdict the smallest, and then who loses least.
    """
    own = _standing("baseline", "", report.spec.baseline.model.id, (0.0, 0.0, 0.0), report.baseline)
    found = [_of_pair(pair) for pair in report.pairs]
    found.sort(key=lambda one: (
        _ORDER.index(one.status), one.size_bytes, one.loss[0] if one.loss else 0.0, one.name,
    ))  # fmt: skip
    return [own, *found]


def table(report: Report) -> Table:
    """Return the ranking as plain cells."""
    rows = []
    found = standings(report)
    known = any(one.joules_per_right for one in found)
    for one in found:
        rows.append({
            "Arm": one.name,
            "Verdict": one.status or "-",
            "Loss, points": wording.loss(*one.loss) if one.loss and not one.is_baseline else "-",
            "On disk": wording.size(one.size_bytes),
            "Loaded": _or_dash(one.memory_bytes, wording.size),
            "Tokens a second": _or_dash(one.tokens_per_second, wording.number),
            "First token, ms": _or_dash(one.first_token_ms, wording.number),
            **({"Joules a right answer": _or_dash(one.joules_per_right, wording.number)}
               if known else {}),
            "What": one.what,
        })  # fmt: skip
    return Table("The candidates, ranked", rows)


def scores_table(report: Report) -> Table:
    """Return the first metric of every task in every arm, with its standard error."""
    rows = []
    for name, task in report.baseline.tasks.items():
        metric = task.primary_metric
        row = {"Task": name, "Metric": metric}
        for arm, result in report.arms.items():
            value = result.tasks[name].metrics.get(metric) if name in result.tasks else None
            row[arm] = "-" if value is None else score_with_error(value, metric, name)
        rows.append(row)
    return Table("Scores of every arm", rows)


def score_with_error(value: MetricValue, metric: str, task: str) -> str:
    """Return `71.2 % ± 1.3`."""
    unit: wording.Unit = "points" if in_points(metric, task, value) else "value"
    found = wording.score(value.value, unit)
    if value.stderr is None:
        return found
    error = 100 * value.stderr if unit == "points" else value.stderr
    return f"{found} ± {error:.1f}" if unit == "points" else f"{found} ± {error:.3g}"


def written_tokens_per_second(bench: Bench | None) -> float | None:
    """Return what is written at the most requests at a time; none if that was not timed."""
    points = shortest_prompts(bench)
    return points[-1].output_tokens_per_second if points else None


def undominated(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Return of each point whether no other is as good in both and better in one (Pareto).

    Args:
        points: What is paid, and what is had; of both less is better.
    """
    return [
        not any(
            other[0] <= own[0] and other[1] <= own[1] and other != own
            for place, other in enumerate(points)
            if place != index
        )
        for index, own in enumerate(points)
    ]


def _of_pair(pair: Pair) -> Standing:
    pooled = pair.comparison.pooled
    loss = pooled.loss_points if pooled else None
    return _standing(pair.name, pair.verdict.status, changed(pair), loss, pair.candidate)


def _standing(
    name: str,
    status: str,
    what: str,
    loss: tuple[float, float, float] | None,
    arm: ArmResult,
) -> Standing:
    points = shortest_prompts(arm.bench)
    return Standing(
        name=name,
        status=status,
        what=what,
        loss=loss,
        size_bytes=arm.checkpoint.size_bytes,
        memory_bytes=arm.bench.memory.weights_bytes if arm.bench else None,
        tokens_per_second=written_tokens_per_second(arm.bench),
        first_token_ms=points[0].ttft_ms_median if points else None,
        joules_per_right=energy.per_right_of_all(arm),
    )


def _or_dash(value: float | None, show: Callable[[float], str]) -> str:
    return "-" if value is None else show(value)
