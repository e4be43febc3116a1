"""From the table of runs to series of runs that can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from infra.contracts.records import Pair
from infra.contracts.specs import BASELINE
from infra.judging.earlier_runs import recipe_of
from infra.report.trend.control import Judged, judge
from infra.suite.metrics import unit_of_name

if TYPE_CHECKING:
    import pandas as pd


_Row: TypeAlias = dict[str, Any]
COLUMNS = (
    "run_id", "created", "label", "model", "recipe", "recipe_name", "verdict", "arm", "task",
    "metric", "questions", "primary", "higher_is_better", "value", "n", "low", "high", "reused",
    "unit", "aggregation", "repeats",
)  # fmt: skip
"""Columns of the history that series are made from."""


class Kind(NamedTuple):
    """What runs have in common that are compared over time."""

    label: str
    model: str
    recipe: str
    """Digest of what the candidate changes."""


@dataclass(frozen=True, slots=True)
class Point:
    """One candidate of one run, beside the baseline of that run."""

    run_id: str
    arm: str
    """The candidate's name."""

    created: datetime
    verdict: str
    baseline: float
    candidate: float
    difference: float
    low: float | None
    high: float | None
    """Ends of the paired interval of the difference."""

    new: bool
    """False if both scores were taken over from an earlier run: no new measurement."""

    judged_baseline: Judged
    judged_candidate: Judged
    judged_difference: Judged


@dataclass(frozen=True, slots=True)
class Trend:
    """One metric of one task over the candidates of a kind that were evaluated alike."""

    kind: Kind
    recipe_name: str
    task: str
    metric: str
    higher_is_better: bool
    rows: int
    """Rows that every score is over."""

    points: tuple[Point, ...]
    """Oldest first."""

    other_questions: int
    """Runs of the kind with other questions; they are left out."""

    percent: bool
    """Whether scores are shares, as they are declared to be."""

    def worse(self, judged: Judged) -> bool:
        """Return whether a value is out of control on the bad side."""
        bad = "below" if self.higher_is_better else "above"
        return judged.flag is not None and judged.flag.endswith(bad)


def kind_of(pair: Pair) -> Kind:
    """Return the kind of a candidate's run."""
    label, model = pair.spec.results.label, pair.spec.baseline.model.id
    return Kind(label, model, recipe_of(pair.change))


def trends(
    frame: pd.DataFrame, kind: Kind | None = None, *, most: int | None = None
) -> list[Trend]:
    """Return the series of every kind and task, by their first metric; the latest run's first.

    Args:
        frame: What `history.read` gives; it has `COLUMNS`.
        kind: Return only this one's.
        most: Return only those of so many kinds, which ran last.
    """
    rows = frame[frame["primary"].fillna(False) & frame["value"].notna()]
    rows = rows[rows["created"].notna()]
    of_baseline = rows["arm"] == BASELINE
    if kind is not None:
        mine = rows["recipe"].notna()
        for column, value in zip(Kind._fields, kind, strict=True):
            mine &= rows[column] == value
        # A baseline has no recipe; its run identifies it.
        rows = rows[mine | (of_baseline & rows["run_id"].isin(rows[mine]["run_id"]))]
    # Plain Python from here on: a thousand groups would take pandas long.
    rows = rows.sort_values("created", kind="stable")[list(COLUMNS)].astype(object)
    groups: dict[Kind, dict[tuple[str, str], list[_Row]]] = {}
    records = cast("list[_Row]", rows.where(rows.notna(), None).to_dict("records"))
    baselines = {
        (row["run_id"], row["task"], row["metric"]): row
        for row in records
        if row["arm"] == BASELINE
    }
    beside = {run for run, _, _ in baselines}
    for row in records:
        if row["arm"] == BASELINE or row["run_id"] not in beside:  # those have a table of their own
            continue
        own = Kind(*(row[field] or "" for field in Kind._fields))
        # Put at the end again, so that the kind which ran last comes last.
        groups[own] = tasks = groups.pop(own, {})
        tasks.setdefault((row["task"] or "", row["metric"] or ""), []).append(row)
    latest = [*groups][::-1][:most]
    return [
        trend
        for own in latest
        for (task, metric), members in groups[own].items()
        if (trend := _trend(own, task, metric, members, baselines))
    ]


def _trend(
    kind: Kind,
    task: str,
    metric: str,
    members: Sequence[_Row],
    baselines: Mapping[tuple[Any, Any, Any], _Row],
) -> Trend | None:
    """Return the series of those runs that asked the same questions as the last one."""
    last = members[-1]
    same = [row for row in members if row["questions"] == last["questions"]]
    # Two candidates of a run may be made alike.
    latest = {(row["run_id"], row["arm"]): row for row in same}
    pairs = [
        (baseline, row)
        for (run, _), row in latest.items()
        if (baseline := baselines.get((run, row["task"], row["metric"])))
    ]
    if not pairs:
        return None
    others = {row["run_id"] for row in members} - {row["run_id"] for row in same}
    return Trend(
        kind=kind,
        recipe_name=last["recipe_name"] or f"recipe {kind.recipe[:8]}",
        task=task,
        metric=metric,
        higher_is_better=last["higher_is_better"] is not False,
        rows=_asked(last),
        points=tuple(_points(pairs, _asked(last))),
        other_questions=len(others),
        percent=_in_points(last),
    )


def _asked(row: _Row) -> int:
    """Return how many questions a row is of, however often each was asked."""
    return int(row["n"] or 0) // int(row["repeats"] or 1)


def _in_points(row: _Row) -> bool:
    """Return whether a metric has points as it is declared; older runs have the name alone."""
    unit = row["unit"] or unit_of_name(row["metric"] or "", row["task"] or "")
    return bool(unit == "points")


def _points(pairs: Sequence[tuple[_Row, _Row]], rows: int) -> Iterator[Point]:
    values = {
        "baseline": [float(baseline["value"]) for baseline, _ in pairs],
        "candidate": [float(candidate["value"]) for _, candidate in pairs],
    }
    last = pairs[-1][1]
    # A row beyond what is declared (a verdict says so) has no share of the rows for its spread.
    shares = _in_points(last) and last["aggregation"] != "corpus" and all(
        0 <= value <= 1 for column in values.values() for value in column
    )  # fmt: skip
    values["difference"] = [
        other - one for one, other in zip(values["baseline"], values["candidate"], strict=True)
    ]
    # The first of a series counts, wherever it was measured.
    new = {
        name: [place == 0 or pair[arm]["reused"] is not True for place, pair in enumerate(pairs)]
        for arm, name in enumerate(("baseline", "candidate"))
    }
    new["difference"] = [any(pair) for pair in zip(new["baseline"], new["candidate"], strict=True)]
    judged = {
        name: _judged(column, new[name], rows if shares and rows else None)
        for name, column in values.items()
    }
    for place, (_, row) in enumerate(pairs):
        yield Point(
            run_id=row["run_id"],
            arm=row["arm"],
            created=row["created"].to_pydatetime(),
            verdict=row["verdict"] or "",
            baseline=values["baseline"][place],
            candidate=values["candidate"][place],
            difference=values["difference"][place],
            low=row["low"],
            high=row["high"],
            new=new["difference"][place],
            judged_baseline=judged["baseline"][place],
            judged_candidate=judged["candidate"][place],
            judged_difference=judged["difference"][place],
        )


def _judged(values: list[float], new: list[bool], rows: int | None) -> list[Judged]:
    """Judge new measurements alone: one that was taken over would count twice."""
    judged = iter(judge([v for v, is_new in zip(values, new, strict=True) if is_new], rows))
    return [next(judged) if is_new else Judged() for is_new in new]
