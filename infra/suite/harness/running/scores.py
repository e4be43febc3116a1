"""From lm-eval's results to records, once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from infra.contracts.errors import EvaluationError
from infra.contracts.records import MetricValue, TaskScores
from infra.suite.harness.metrics import declared, metric_names
from infra.suite.metrics import Metric
from infra.suite.own.kind import NOT_ASKED
from infra.suite.rows import UNFINISHED, Row, questions_digest


def primary_metric(order: Iterable[str], found: Iterable[str]) -> str:
    """Return the metric a reader looks at first.

    It is the task's first metric (in the order of its definition) under its strictest filter: the
    one whose name says strict, or else the first.

    Args:
        order: Names of metrics in the order of the definition.
        found: `<metric>,<filter>` of the results, filters in the order of the definition.

    Returns:
        One of `found`, or an empty text if there is none.
    """
    keys = list(found)
    for metric in order:
        under = [key for key in keys if key.partition(",")[0] == metric]
        if under:
            return next((key for key in under if "strict" in key.partition(",")[2]), under[0])
    return keys[0] if keys else ""


def metric_keys(result: Mapping[str, Any]) -> list[str]:
    """Return the `<metric>,<filter>` keys of one result of lm-eval, without standard errors."""
    return [key for key in result if "," in key and not key.partition(",")[0].endswith("_stderr")]


def task_scores(
    name: str,
    results: Mapping[str, Any],
    loaded: Mapping[str, Any],
    rows: Iterable[Row],
    *,
    dataset: Mapping[str, str],
    conditions: Mapping[str, Any],
    samples: str,
    seconds: float,
    joules: float | None = None,
    kept: int = 0,
) -> TaskScores:
    """Return the record of one task or group, subtasks and subgroups below it.

    Args:
        name: Task or group.
        results: What `lm_eval.evaluator.evaluate` returned.
        loaded: Its tasks and groups, as they ran.
        rows: Rows of the samples file.
        dataset: Task → dataset and where its rows were read.
        conditions: Of the evaluation; see `TaskScores`.
        samples: Name of the samples file.
        seconds: Wall time of the whole entry.
        joules: That asking all of it took; none where nobody can tell.
        kept: Requests that were not sent for it, of a group as a whole.

    Raises:
        EvaluationError: A primary metric is no finite number; another one is left out. Or a
            definition declares a unit that there is not.
    """
    group = loaded.get("groups", {}).get(name)
    members = [task.task_name for task in group.get_all_tasks()] if group else [name]
    own = [row for row in rows if row.task in members]
    result = results["results"][name]
    keys = metric_keys(result)
    subtasks = {
        child: task_scores(
            child, results, loaded, own,
            dataset=dataset, conditions=conditions, samples=samples, seconds=seconds,
        )
        for child in (group.child_names if group else [])
    }  # fmt: skip
    primary = primary_metric(metric_names(name, loaded), keys)
    values = {key: value for key in keys if (value := _finite(result[key])) is not None}
    if primary and primary not in values:
        raise EvaluationError(
            f"{name} ran, but its score {primary} is {result[primary]}, no finite number.",
            cause="The metric divides by nothing, or an answer has no likelihood.",
            remedy="Take the task out of evaluation.tasks, or let another metric come first in its "
            "definition. All answers are kept.",
        )
    repeats = any(row.repeat is not None for row in own)
    declarations = {key: declared(key.partition(",")[0], name, loaded) for key in values}
    shots = results["n-shot"].get(name)
    if shots is None:
        shots = max((task.num_fewshot for task in subtasks.values()), default=0)
    return TaskScores(
        name=name,
        metrics={
            key: MetricValue(
                value=value,
                stderr=_of_questions(own, key)
                if repeats
                else _finite(result.get(_stderr_key(key))),
                n=(None if group else _part(key, own, declarations[key]))
                or int(result.get("sample_len", len(own))),
                higher_is_better=declarations[key].higher_is_better,
                unit=declarations[key].unit,
                aggregation=declarations[key].aggregation,
                chance=declarations[key].chance,
            )
            for key, value in values.items()
        },
        left_out=tuple(key for key in keys if key not in values),
        primary_metric=primary,
        n=len(own),
        num_fewshot=int(shots),
        version=str(results["versions"].get(name, "")),
        conditions=dict(conditions),
        dataset=", ".join(sorted({dataset[member] for member in members if member in dataset})),
        questions=questions_digest(own),
        subtasks=subtasks,
        samples=samples,
        seconds=seconds,
        joules=joules,
        kept=kept,
        truncated=sum(row.truncated for row in own),
        nothing_to_ask=sum(bool(row.doc.get(NOT_ASKED)) for row in own),
        unfinished=sum(row.finish_reason == UNFINISHED for row in own),
    )


def _part(key: str, rows: Sequence[Row], metric: Metric) -> int | None:
    """Return how many rows a metric is the mean of, where it is one of some of them alone."""
    if metric.aggregation != "mean":
        return None
    carrying = sum(row.score(key) is not None for row in rows)
    return carrying if 0 < carrying < len(rows) else None


def _stderr_key(key: str) -> str:
    metric, _, filter_name = key.partition(",")
    return f"{metric}_stderr,{filter_name}"


def _of_questions(rows: Iterable[Row], metric: str) -> float | None:
    """Return the standard error of a mean over questions that are asked several times each."""
    asked: dict[tuple[str, int], list[float]] = defaultdict(list)
    for row in rows:
        if (score := row.score(metric)) is None:
            return None
        asked[row.task, row.doc_id].append(score)
    means = [fmean(scores) for scores in asked.values()]
    return stdev(means) / math.sqrt(len(means)) if len(means) > 1 else None


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):  # lm-eval writes N/A where it has no formula
        return None
    return number if math.isfinite(number) else None
