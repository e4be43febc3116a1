"""What lm-eval's definitions declare of their metrics.

A definition declares how rows become its metrics (`aggregation`) and which way is better. It has no
word for a unit: that is the one of the metric's name, or stands in the definition's own metadata,

    metadata:
      units: {house_score: points}

and a metric of which neither says anything is a bare value, which no margin in points can be held
against. What guessing scores may stand there too: `chance: {house_score: 0.25}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from infra.contracts.errors import EvaluationError
from infra.contracts.records.arms import MetricUnit
from infra.suite.metrics import Metric, is_better_higher, unit_of_name

_MEANS = ("mean", "nanmean")
_AGGREGATIONS = "lm_eval.api.metrics"


def declared(metric: str, name: str, loaded: Mapping[str, Any]) -> Metric:
    """Return what is declared of a metric of a loaded task or group.

    A group's metric has the unit and the direction of its parts if they agree, and is a mean if all
    of them are: lm-eval makes it the mean of its parts, whatever else its definition names.

    Args:
        metric: Its name, without filter.
        name: Task or group.
        loaded: lm-eval's tasks and groups by name.

    Raises:
        EvaluationError: A definition declares a unit that there is not.
    """
    group = loaded.get("groups", {}).get(name)
    tasks = group.get_all_tasks() if group else [loaded["tasks"][name]]
    units = {_unit(metric, task) for task in tasks}
    declared_of = [task.higher_is_better() for task in tasks]
    directions = {one[metric] for one in declared_of if metric in one}
    means = {_is_mean(task.aggregation(), metric) for task in tasks}
    return Metric(
        unit=units.pop() if len(units) == 1 else "value",
        aggregation="mean" if means == {True} else "corpus",
        higher_is_better=is_better_higher(
            metric, directions.pop() if len(directions) == 1 else None
        ),
        chance=_chance(metric, tasks),
    )


def metric_names(name: str, loaded: Mapping[str, Any]) -> list[str]:
    """Return the metrics of a task or group in the order of its definition."""
    if group := loaded.get("groups", {}).get(name):
        return [config.metric for config in group.aggregate_metric_list or []]
    return list(loaded["tasks"][name].aggregation())


def first_metric(name: str, loaded: Mapping[str, Any]) -> tuple[str, Metric] | None:
    """Return the metric that a task or group is judged by, and what is declared of it.

    Without filter; none of a group that has no metric of its own.

    Raises:
        EvaluationError: A definition declares a unit that there is not.
    """
    metric = next(iter(metric_names(name, loaded)), None)
    return None if metric is None else (metric, declared(metric, name, loaded))


def without_points(name: str, loaded: Mapping[str, Any]) -> str:
    """Return why no margin can be held against a task or group; empty if one can.

    Raises:
        EvaluationError: A definition declares a unit that there is not.
    """
    first = first_metric(name, loaded)
    if first is None:
        return f"{name} has no metric of its own, so no margin is held against it"
    metric, found = first
    if found.aggregation == "corpus":
        why = "is not declared to be the mean of its rows (aggregation: mean)"
    elif found.unit not in ("points", "value"):
        why = f"is in {found.unit}, not in points"
    elif found.unit != "points":
        why = (
            "is not declared to score every row between 0 and 1 (in its definition: "
            f"metadata: {{units: {{{metric}: points}}}})"
        )
    else:
        return ""
    but = "" if found.unit == "points" else f" unless verdict.margins gives {metric} one"
    return f"{name} is scored by {metric}, which {why}, so no margin is held against it{but}"


def _unit(metric: str, task: Any) -> MetricUnit:
    metadata = task.get_config("metadata") if hasattr(task, "get_config") else None
    units = metadata.get("units") if isinstance(metadata, Mapping) else None
    if not units:
        return unit_of_name(metric, _name(task))
    if not isinstance(units, Mapping) or not set(units.values()) <= set(get_args(MetricUnit)):
        raise EvaluationError(
            f"The definition of {_name(task)} declares units that there are not: {units!r:.200}.",
            remedy="Under metadata.units, give each metric's name one of "
            f"{', '.join(get_args(MetricUnit))}; points if every row scores between 0 and 1.",
        )
    return units.get(metric) or unit_of_name(metric, _name(task))


def _chance(metric: str, tasks: Sequence[Any]) -> float | None:
    """Return what guessing scores, as the metadata of a task says; none of several tasks."""
    metadata = tasks[0].get_config("metadata") if hasattr(tasks[0], "get_config") else None
    chances = metadata.get("chance") if isinstance(metadata, Mapping) else None
    found = chances.get(metric) if isinstance(chances, Mapping) else None
    plain = isinstance(found, int | float) and not isinstance(found, bool)
    return float(found) if len(tasks) == 1 and found is not None and plain else None


def _name(task: Any) -> str:
    return str(getattr(task, "task_name", ""))


def _is_mean(aggregations: Mapping[str, Callable[..., Any] | None], metric: str) -> bool:
    """Return whether rows become a metric by their mean, as lm-eval does where nothing is said."""
    function = aggregations.get(metric)
    if function is None:
        return True
    return (
        getattr(function, "__module__", "") == _AGGREGATIONS
        and getattr(function, "__name__", "") in _MEANS
    )
