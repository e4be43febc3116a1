"""What one stage of a run gave, in Markdown: a few lines beside it in the Prefect UI."""

from __future__ import annotations

from pathlib import Path

from infra.contracts import wording
from infra.contracts.records import (
    Adapter,
    ArmResult,
    Checkpoint,
    Comparison,
    PythonEnvironment,
    Weights,
)
from infra.report.grid import grid
from infra.report.markdown import comparison_table
from infra.report.text import code
from infra.suite.metrics import in_points


def of_weights(weights: Weights) -> str:
    """Return where weights came from, and how much they are."""
    return _facts({
        "Model": code(weights.id),
        "From": weights.source,
        "Revision": code(weights.revision) if weights.revision else "",
        "Architecture": weights.architecture,
        "Weights": f"{wording.size(weights.size_bytes)} in {code(str(weights.path))}",
    })  # fmt: skip


def of_adapter(adapter: Adapter) -> str:
    """Return where an adapter came from, and how much it is."""
    return _facts({
        "Adapter": code(adapter.id),
        "From": adapter.source,
        "Revision": code(adapter.revision) if adapter.revision else "",
        "Rank": str(adapter.rank),
        "Weights": f"{wording.size(adapter.size_bytes)} in {code(str(adapter.path))}",
    })  # fmt: skip


def of_environment(environment: PythonEnvironment, *, log: Path | None) -> str:
    """Return which interpreter a program has."""
    return _facts({
        "Program": environment.name,
        "Interpreter": code(str(environment.python)),
        "Log": code(str(log)) if log else "",
    })  # fmt: skip


def of_checkpoint(checkpoint: Checkpoint, made_of: Weights, *, log: Path) -> str:
    """Return how large a checkpoint became, how long that took, and where it lies."""
    made = checkpoint.made
    return _facts({
        "Recipe": made.recipe.title if made else "",
        "Size": f"{wording.size(checkpoint.size_bytes)}, of {wording.size(made_of.size_bytes)}",
        "Made in": wording.duration(made.seconds) if made else "",
        "Checkpoint": code(str(checkpoint.path)),
        "Log": code(str(log)),
    })  # fmt: skip


def of_arm(result: ArmResult, folder: Path) -> str:
    """Return what an arm scored, how it was served, and where its log lies.

    Args:
        result: What came out.
        folder: Of the run.
    """
    scores = []
    for task in result.tasks.values():
        metric = task.metrics[task.primary_metric]
        points = in_points(task.primary_metric, task.name, metric)
        scores.append({
            "Task": task.name,
            "Metric": task.primary_metric,
            "Score": wording.score(metric.value, "points" if points else "value"),
            "Rows": f"{task.n:,}",
            "From": "an earlier run" if task.reused else "this run",
        })  # fmt: skip
    server = result.server
    return "\n\n".join([
        grid(scores),
        _facts({
            "Engine": f"{server.engine} {server.version} on {server.device}",
            "Started in": wording.duration(server.startup_seconds),
            "Log": code(str(folder / server.log)),
        }),
    ])  # fmt: skip


def of_comparison(comparison: Comparison) -> str:
    """Return every metric of both arms, with their difference."""
    return grid(comparison_table(comparison))


def _facts(facts: dict[str, str]) -> str:
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact)
