"""What a metric is: its unit, which way is better, and how rows become it.

All three are declared and never told from the values that happen to come out: a loss whose rows all
lie below 1 has no points, and an accuracy with one row at 1.01 is not without. The definition of a
task declares how rows become its metrics (`aggregation`) and which way is better. It has no word
for a unit: that stands here by the metric's name, or in the definition's own metadata,

    metadata:
      units: {house_score: points}

and a metric of which neither says anything is a bare value, which no margin can be held against.
Scores of earlier versions tell no unit; theirs is the one of the name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from infra.contracts.errors import EvaluationError
from infra.contracts.records.arms import Aggregation, MetricUnit, MetricValue

_POINTS = {
    "acc", "acc_norm", "acc_bytes", "acc_mutual_info", "acc_all", "accuracy", "exact_match",
    "em", "exact", "f1", "precision", "recall", "exact_match_original", "flexible_f1",
    "partial_accuracy", "extraction_rate", "numerical_match", "relaxed_accuracy",
    "anywhere_accuracy", "is_included", "math_verify", "verifiable_reward",
    "prompt_level_strict_acc", "prompt_level_loose_acc", "inst_level_strict_acc",
    "inst_level_loose_acc", "json_validity", "schema_compliance", "mrr", "r@1", "r@2",
    "pass_at_1", "pass_at_k", "fscore", "pct_stereotype", "bleu_acc", "rouge1_acc",
    "rouge2_acc", "rougeL_acc", "qa_f1_score", "qa_f1_zh_score", "rouge_score",
    "rouge_zh_score", "classification_score", "count_score", "retrieval_score",
    "retrieval_zh_score", "code_sim_score", "non_greedy_accuracy", "consistency_rate",
    "options_consistency_rate", "acc_C1", "acc_C2", "acc_B1", "acc_B2", "acc_text", "acc_frase",
    "acc_oracions", "acc_definició", "acc_norm_C1", "acc_norm_C2", "acc_norm_B1", "acc_norm_B2",
    "acc_norm_text", "acc_norm_frase", "acc_norm_oracions", "acc_norm_definició",
    "exact_match_B1", "exact_match_B2", "exact_match_C1", "exact_match_C2", "exact_match_text",
    "exact_match_oracions", "exact_match_definició",
} | {f"{number}_accuracy" for number in range(10)}  # fmt: skip
"""Metrics of lm-eval's tasks whose rows score between 0 and 1, whatever makes them one number."""

_POINTS_IN = {"score": ("longbench", "longproc", "infinitebench")}
"""The same, where a name says little by itself → beginnings of the tasks' names."""

_PASS_AT = "pass@"  # noqa: S105

_UNITS: dict[str, MetricUnit] = {
    "bits_per_byte": "bits", "nll": "nats", "loss": "nats", "log_loss": "nats",
    "cross_entropy": "nats",
}  # fmt: skip

_LOWER_IS_BETTER = {
    "brier_score", "perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "ppl",
    "nll", "loss", "log_loss", "cross_entropy", "ter", "wer", "cer", "mer", "mse", "rmse", "mae",
}  # fmt: skip
"""Where a definition does not say: lm-eval takes more to be better of whatever it does not know."""

_MEANS = ("mean", "nanmean")
_AGGREGATIONS = "lm_eval.api.metrics"


def known_unit(metric: str, task: str = "") -> MetricUnit:
    """Return the unit that a metric's name stands for; `value` if the name says nothing.

    Args:
        metric: With or without its filter.
        task: Task or group, for names that mean different things in different tasks.
    """
    name = metric.partition(",")[0]
    if (
        name in _POINTS
        or task.startswith(_POINTS_IN.get(name, ()))
        or (name.startswith(_PASS_AT) and name.removeprefix(_PASS_AT).isdigit())
    ):
        return "points"
    return _UNITS.get(name, "value")


def in_points(metric: str, task: str, *values: MetricValue) -> bool:
    """Return whether a metric's rows lie between 0 and 1 by declaration.

    Args:
        metric: `<metric>,<filter>`.
        task: Task or group.
        values: The metric in each arm. One that an earlier version scored tells no unit.
    """
    told = next((value.unit for value in values if value.unit), None)
    return (told or known_unit(metric, task)) == "points"


def is_corpus(*values: MetricValue) -> bool:
    """Return whether a metric is declared to be another thing than the mean of its rows."""
    return any(value.aggregation == "corpus" for value in values)


def is_better_higher(metric: str, told: object) -> bool:
    """Return whether more is better.

    Args:
        metric: Its name, with or without filter.
        told: What the definition says; anything but a truth value is nothing.
    """
    return told if isinstance(told, bool) else metric.partition(",")[0] not in _LOWER_IS_BETTER


def declared(metric: str, name: str, loaded: Mapping[str, Any]) -> tuple[MetricUnit, Aggregation]:
    """Return the unit of a metric of a loaded task or group, and how rows become it.

    A group's metric has the unit of its parts if they agree, and is a mean if all of them are:
    lm-eval makes it the mean of its parts, whatever else its definition names.

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
    means = {_is_mean(task.aggregation(), metric) for task in tasks}
    return units.pop() if len(units) == 1 else "value", "mean" if means == {True} else "corpus"


def first_metric(name: str, loaded: Mapping[str, Any]) -> str | None:
    """Return the first metric of the definition of a task or group; none if it has none."""
    group = loaded.get("groups", {}).get(name)
    names: Iterable[str] = (
        [config.metric for config in group.aggregate_metric_list or []]
        if group
        else loaded["tasks"][name].aggregation()
    )
    return next(iter(names), None)


def without_points(name: str, loaded: Mapping[str, Any]) -> str:
    """Return why no margin can be held against a task or group; empty if one can.

    Raises:
        EvaluationError: A definition declares a unit that there is not.
    """
    metric = first_metric(name, loaded)
    if metric is None:
        return f"{name} has no metric of its own, so no margin is held against it"
    unit, aggregation = declared(metric, name, loaded)
    if aggregation == "corpus":
        why = "is not declared to be the mean of its rows (aggregation: mean)"
    elif unit != "points":
        why = (
            "is not declared to score every row between 0 and 1 (in its definition: "
            f"metadata: {{units: {{{metric}: points}}}})"
        )
    else:
        return ""
    return f"{name} is scored by {metric}, which {why}, so no margin is held against it"


def _unit(metric: str, task: Any) -> MetricUnit:
    metadata = task.get_config("metadata") if hasattr(task, "get_config") else None
    units = metadata.get("units") if isinstance(metadata, Mapping) else None
    if not units:
        return known_unit(metric, _name(task))
    if not isinstance(units, Mapping) or not set(units.values()) <= set(get_args(MetricUnit)):
        raise EvaluationError(
            f"The definition of {_name(task)} declares units that there are not: {units!r:.200}.",
            remedy="Under metadata.units, give each metric's name one of "
            f"{', '.join(get_args(MetricUnit))}; points if every row scores between 0 and 1.",
        )
    return units.get(metric) or known_unit(metric, _name(task))


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
