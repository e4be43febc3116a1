"""One run as rows of the history: one for each arm, task and metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from infra.contracts.errors import HistoryError
from infra.contracts.records import (
    ArmResult,
    Bench,
    MetricValue,
    Pair,
    Pooled,
    Report,
    RowComparison,
    TaskScores,
)
from infra.contracts.specs import BASELINE
from infra.judging.earlier_runs import recipe_of
from infra.probes.speed.comparing import shortest_prompts
from infra.report.changed import changed
from infra.store import history
from infra.store.content import digest_of
from infra.suite.metrics import unit_of_name

COMPARED = {
    "difference", "low", "high", "lost", "gained", "changed", "pairs", "p_value", "p_adjusted",
}  # fmt: skip
"""What a row has of the comparison of its metric."""


def record(report: Report, folder: Path) -> HistoryError | None:
    """Add a run to the history of a folder.

    Returns:
        Why the table could not be exported; the run is in the history all the same.

    Raises:
        HistoryError: What is there is not a history, or was damaged. It is left as it is.
    """
    return history.append(report.run_id, rows_of(report), folder)


def record_missing(report: Report, folder: Path) -> Exception | None:
    """Add a run that the history never had: it was ended when it had just written its report.

    Returns:
        Why it could not be added, or the table not be exported. The report stands all the same.
    """
    try:
        return None if history.had(report.run_id, folder) else record(report, folder)
    except (HistoryError, OSError) as error:
        return error


def rows_of(report: Report) -> Iterator[dict[str, object]]:
    """Return column → cell of every row; see `history.COLUMNS`."""
    run = _run(report)
    pairs = {pair.name: pair for pair in report.pairs}
    for arm, result in report.arms.items():
        pair = pairs.get(arm)
        if arm == BASELINE or pair is not None:
            any_pair = pair or next(iter(report.pairs), None)
            yield from _rows_of_arm(run | _beside(arm, report, pair), arm, result, pair, any_pair)


def _rows_of_arm(
    run: dict[str, object], arm: str, result: ArmResult, pair: Pair | None, beside: Pair | None
) -> Iterator[dict[str, object]]:
    served = {"arm": arm, **_arm(result), **_bench(result.bench)}
    for scores in result.tasks.values():
        for metric, value in scores.metrics.items():
            compared = compared_of(pair.comparison, scores.name, metric) if pair else {}
            again = _repeats(beside, scores, metric, arm)
            yield {**run, **served, **score_of(scores, metric, value), **compared, **again}


def _repeats(pair: Pair | None, scores: TaskScores, metric: str, arm: str) -> dict[str, object]:
    """Return what a row has of questions that were asked several times each."""
    of = pair.comparison.repeats.get(scores.name) if pair else None
    if of is None or metric != scores.primary_metric:
        return {}
    last = of.passes[-1] if of.passes else None
    side = last and (last.baseline if arm == BASELINE else last.candidate)
    return {"repeats": of.repeats, "pass_at_repeats": side}


def _run(report: Report) -> dict[str, object]:
    spec, model = report.spec, report.spec.baseline.model
    return {
        "run_id": report.run_id,
        "created": report.created.isoformat(),
        "label": spec.results.label,
        "model": model.id,
        "source": model.source,
        "revision": model.revision,
        "assay_commit": report.provenance.get("assay commit"),
        "driver": report.provenance.get("driver"),
        "host": report.provenance.get("host"),
        "run_seconds": round(sum(report.timings.values()), 2),
    }


def _beside(arm: str, report: Report, pair: Pair | None) -> dict[str, object]:
    """Return what an arm has as a whole: a candidate what it changes, and how it went."""
    serving = digest_of(report.spec.arms[arm].serving.model_dump(mode="json"))
    if pair is None:
        fidelity = next((p.comparison.fidelity for p in report.pairs), None)
        return {
            "serving": serving,
            "verdict": report.verdict.status,
            "margin_points": report.verdict.margin_points,
            "perplexity": fidelity.perplexity_baseline if fidelity else None,
        }
    card, fidelity = pair.candidate.checkpoint.calibration, pair.comparison.fidelity
    facts: dict[str, object] = {
        "serving": serving,
        "recipe": recipe_of(pair.change),
        "recipe_name": changed(pair).removeprefix("as ").replace(" in groups", ", groups"),
        "calibration": card.fingerprint if card else None,
        "verdict": pair.verdict.status,
        "margin_points": pair.verdict.margin_points,
        "alert": pair.judgement.alert is not None,
        **pooled_of(pair.comparison.pooled),
    }
    if fidelity:
        facts |= {
            "agreement": fidelity.agreement,
            "kl_mean": fidelity.kl_mean,
            "perplexity": fidelity.perplexity_candidate,
        }
    return facts


def pooled_of(pooled: Pooled | None) -> dict[str, object]:
    """Return what a row has of the effect over all tasks; nothing without one."""
    if pooled is None:
        return {}
    return {
        "pooled_rows": pooled.rows,
        "flip_rate": pooled.flip_rate,
        "pooled_difference": pooled.difference,
        "pooled_low": pooled.low,
        "pooled_high": pooled.high,
        "pooled_bound": pooled.bound,
    }


def _arm(result: ArmResult) -> dict[str, object]:
    server = result.server
    return {
        "checkpoint": result.checkpoint.identity,
        "size_bytes": result.checkpoint.size_bytes,
        "engine": server.engine,
        "engine_version": server.version,
        "device": server.device,
        "kernel": server.kernel,
        "dtype": server.dtype,
        "environment": environment_name(server.command),
        "max_model_len": server.max_model_len,
        "startup_seconds": result.speed.startup_seconds,
        "evaluation_seconds": result.speed.evaluation_seconds if result.asked_whole else None,
        "documents_per_second": result.speed.documents_per_second if result.asked_whole else None,
    }


def environment_name(command: Sequence[str]) -> str | None:
    """Return the folder of the environment that an engine's command runs in.

    Environments that Assay builds carry the digest of their lock in it: `server-cpu-8d3a62a5…`.
    """
    return Path(command[0]).parent.parent.name or None if command else None


def _bench(bench: Bench | None) -> dict[str, object]:
    if bench is None:
        return {}
    facts: dict[str, object] = {
        "weights_memory_bytes": bench.memory.weights_bytes,
        "process_memory_bytes": bench.memory.process_bytes,
    }
    if points := shortest_prompts(bench):
        for name, point in (("lowest", points[0]), ("highest", points[-1])):
            facts |= {
                f"{name}_concurrency": point.concurrency,
                f"{name}_tpot_ms": point.tpot_ms_median,
                f"{name}_output_tokens_per_second": point.output_tokens_per_second,
            }
    return facts


def score_of(scores: TaskScores, metric: str, value: MetricValue) -> dict[str, object]:
    """Return what a row has of its score."""
    return {
        "task": scores.name,
        "task_version": scores.version,
        "num_fewshot": scores.num_fewshot,
        "dataset": scores.dataset,
        "questions": scores.questions,
        "reused": scores.reused,
        "metric": metric,
        "primary": metric == scores.primary_metric,
        **value.model_dump(exclude={"chance"}),
        "unit": value.unit or unit_of_name(metric, scores.name),
    }


def compared_of(comparison: RowComparison, task: str, metric: str) -> dict[str, object]:
    """Return what a row has of the comparison of its metric; nothing where it is of a subtask."""
    for compared in comparison.metrics:
        if (compared.task, compared.metric, compared.subtask_of) == (task, metric, None):
            return dict(compared.model_dump(include=COMPARED))
    return {}
