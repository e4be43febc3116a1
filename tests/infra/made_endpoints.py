"""A made-up evaluation of an endpoint: its answers are those of a made-up candidate."""

from __future__ import annotations

from pathlib import Path

from infra.contracts.records import (
    EarlierRun,
    EndpointJudgement,
    EndpointReport,
    Found,
    Report,
    Spent,
)
from infra.contracts.specs import EndpointRunSpec, EndpointSpec, ResultsSpec
from infra.judging.endpoint import compared, intervals, judged
from tests.infra.made_runs import make_run

URL, MODEL = "http://models.test/v1", "their-model"


def make_endpoint_run(
    folder: Path,
    *,
    baseline: bool = True,
    rows: int = 60,
    kept: float = 0.86,
    by_word: bool = False,
) -> EndpointReport:
    """Write the rows of both below a folder and return the report, without its receipt.

    Args:
        folder: The run's folder.
        baseline: Whether there is one.
        rows: Rows of each task.
        kept: Share of the baseline's right gsm8k rows that stay right.
        by_word: Whether the baseline is an endpoint too.
    """
    made = make_run(folder, rows=rows, kept=kept)
    tasks = made.arms["quantized"].tasks
    spec = spec_of(made, baseline=baseline)
    spent = Spent(requests=180)
    return EndpointReport(
        run_id=folder.name,
        created=made.created,
        spec=spec,
        found=Found(
            url=URL, model=MODEL, answers_as=MODEL, listed={}, abilities=(), window=2048,
            window_from="it says so", prompts="tokens", scoring="read", spent=spent,
        ),
        tasks=tasks,
        intervals=dict(intervals(tasks, folder)),
        judged=_judged(made, spec, folder, by_word=by_word) if baseline else None,
        spent=spent,
        seconds=12.5,
    )  # fmt: skip


def spec_of(made: Report, *, baseline: bool) -> EndpointRunSpec:
    """Return the spec of an endpoint that is evaluated as a run's candidate was."""
    return EndpointRunSpec(
        endpoint=EndpointSpec(url=URL, model=MODEL, version="2026-11"),
        evaluation=made.spec.evaluation.model_copy(update={"noise_floor": False}),
        baseline="runs/earlier" if baseline else None,
        verdict=made.spec.verdict,
        results=ResultsSpec(label="endpoint"),
    )


def _judged(
    made: Report, spec: EndpointRunSpec, folder: Path, *, by_word: bool
) -> EndpointJudgement:
    baseline = EarlierRun(
        run_id="earlier", what="a model", seal="0" * 64, by_word=by_word, tasks=made.baseline.tasks
    )
    comparison = compared(baseline.tasks, made.arms["quantized"].tasks, spec, folder)
    return EndpointJudgement(
        baseline=baseline, comparison=comparison, verdict=judged(comparison, spec, None)
    )
