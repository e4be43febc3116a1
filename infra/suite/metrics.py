"""What a metric is: its unit, which way is better, how rows become it, and what guessing scores.

All of it is declared and never inferred from the values that happen to come out: a loss whose rows
all lie below 1 has no points, and an accuracy with one row at 1.01 is not without. Scores of
earlier versions declare no unit; theirs is the one of the metric's name.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Metric:
    """What is declared of a metric before anything is evaluated."""

    unit: MetricUnit
    aggregation: Aggregation
    higher_is_better: bool
    chance: float | None = None
    """What guessing scores, in the metric's own unit; none where the rows themselves say."""


def unit_of_name(metric: str, task: str = "") -> MetricUnit:
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
        values: The metric in each arm. One that an earlier version scored has no unit.
    """
    declared = next((value.unit for value in values if value.unit), None)
    return (declared or unit_of_name(metric, task)) == "points"


def is_corpus(*values: MetricValue) -> bool:
    """Return whether a metric is declared to be another thing than the mean of its rows."""
    return any(value.aggregation == "corpus" for value in values)


def is_better_higher(metric: str, declared: object) -> bool:
    """Return whether more is better.

    Args:
        metric: Its name, with or without filter.
        declared: What the definition says; anything but a truth value is nothing.
    """
    if isinstance(declared, bool):
        return declared
    return metric.partition(",")[0] not in _LOWER_IS_BETTER
