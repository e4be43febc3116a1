"""One run as rows of the history: one for each arm, task and metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from infra.contracts.records import (
    Arm,
    ArmResult,
    Bench,
    MetricValue,
    Pooled,
    Report,
    TaskScores,
)
from infra.judging.comparison import recipe_name
from infra.store import history
from infra.store.content import digest_of
from infra.suite.harness.metrics import known_unit

_COMPARED = {
    "difference", "low", "high", "lost", "gained", "changed", "pairs", "p_value", "p_adjusted",
}  # fmt: skip


def record(report: Report, folder: Path) -> Path:
    """Add a run to the history of a folder; return the path of the table.

    Raises:
        HistoryError: The file there is not a history, or was damaged. It is left as it is.
    """
    return history.append(report.run_id, rows_of(report), folder)


def rows_of(report: Report) -> Iterator[dict[str, object]]:
    """Return column → cell of every row; see `history.COLUMNS`."""
    run = _run(report)
    for arm, result in report.arms.items():
        served = {"arm": arm, **_arm(result), **_fidelity(report, arm), **_bench(result.bench)}
        for scores in result.tasks.values():
            for metric, value in scores.metrics.items():
                yield {
                    **run,
                    **served,
                    **_score(scores, metric, value),
                    **_comparison(report, scores.name, metric),
                }


def _run(report: Report) -> dict[str, object]:
    spec = report.spec
    return {
        "run_id": report.run_id,
        "created": report.created.isoformat(),
        "label": spec.results.label,
        "model": spec.model.id,
        "source": spec.model.source,
        "revision": spec.model.revision,
        "recipe": digest_of(spec.quantization.model_dump(mode="json")),
        "recipe_name": f"{recipe_name(spec.quantization)}, groups of "
        f"{spec.quantization.group_size}",
        "calibration": report.calibration.fingerprint,
        "serving": digest_of(spec.serving.model_dump(mode="json")),
        "verdict": report.verdict.status,
        "margin_points": report.verdict.margin_points,
        "alert": report.alert is not None,
        "assay_commit": report.provenance.get("assay commit"),
        "driver": report.provenance.get("driver"),
        "host": report.provenance.get("host"),
        "run_seconds": round(sum(report.timings.values()), 2),
        **_pooled(report.comparison.pooled),
    }


def _pooled(pooled: Pooled | None) -> dict[str, object]:
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
        "checkpoint": result.checkpoint.digest,
        "size_bytes": result.checkpoint.size_bytes,
        "engine": server.engine,
        "engine_version": server.version,
        "device": server.device,
        "kernel": server.kernel,
        "dtype": server.dtype,
        "environment": environment_name(server.command),
        "max_model_len": server.max_model_len,
        **result.speed.model_dump(),
    }


def environment_name(command: Sequence[str]) -> str | None:
    """Return the folder of the environment that an engine's command runs in.

    Environments that Assay builds carry the digest of their lock in it: `server-cpu-8d3a62a5…`.
    """
    return Path(command[0]).parent.parent.name or None if command else None


def _fidelity(report: Report, arm: Arm) -> dict[str, object]:
    fidelity = report.comparison.fidelity
    if fidelity is None:
        return {}
    return {
        "agreement": fidelity.agreement,
        "kl_mean": fidelity.kl_mean,
        "perplexity": (
            fidelity.perplexity_base if arm == "base" else fidelity.perplexity_quantized
        ),
    }


def _bench(bench: Bench | None) -> dict[str, object]:
    if bench is None:
        return {}
    facts: dict[str, object] = {
        "weights_memory_bytes": bench.memory.weights_bytes,
        "process_memory_bytes": bench.memory.process_bytes,
    }
    if bench.points:
        shortest = min(point.input_tokens for point in bench.points)
        points = sorted(
            (point for point in bench.points if point.input_tokens == shortest),
            key=lambda point: point.concurrency,
        )
        for name, point in (("lowest", points[0]), ("highest", points[-1])):
            facts |= {
                f"{name}_concurrency": point.concurrency,
                f"{name}_tpot_ms": point.tpot_ms_median,
                f"{name}_output_tokens_per_second": point.output_tokens_per_second,
            }
    return facts


def _score(scores: TaskScores, metric: str, value: MetricValue) -> dict[str, object]:
    return {
        "task": scores.name,
        "task_version": scores.version,
        "num_fewshot": scores.num_fewshot,
        "dataset": scores.dataset,
        "exam": scores.exam,
        "reused": scores.reused,
        "metric": metric,
        "primary": metric == scores.primary_metric,
        **value.model_dump(),
        "unit": value.unit or known_unit(metric, scores.name),
    }


def _comparison(report: Report, task: str, metric: str) -> dict[str, object]:
    for compared in report.comparison.metrics:
        if (compared.task, compared.metric, compared.subtask_of) == (task, metric, None):
            return compared.model_dump(include=_COMPARED)
    return {}
