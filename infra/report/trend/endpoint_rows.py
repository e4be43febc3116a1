"""One evaluation of an endpoint as rows of the history: one for each task and metric.

With a baseline its rows stand there too, as those of any run's baseline. What nobody knows of an
endpoint (weights, engine, device) is left empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from infra.contracts.errors import HistoryError
from infra.contracts.records import EndpointJudgement, EndpointReport, TaskScores
from infra.contracts.specs import BASELINE
from infra.judging.earlier_runs import endpoint_recipe
from infra.report.trend.rows import compared_of, pooled_of, score_of
from infra.store import history


def record(report: EndpointReport, folder: Path) -> HistoryError | None:
    """Add an evaluation to the history of a folder.

    Returns:
        Why the table could not be exported; the evaluation is in the history all the same.

    Raises:
        HistoryError: What is there is not a history, or was damaged. It is left as it is.
    """
    return history.append(report.run_id, rows_of(report), folder)


def rows_of(report: EndpointReport) -> Iterator[dict[str, object]]:
    """Return column → cell of every row; see `history.COLUMNS`."""
    run, judged = _run(report), report.judged
    if judged is None:
        yield from _rows(run | _arm(report), report.tasks, None)
        return
    verdict = {
        "verdict": judged.verdict.status,
        "margin_points": judged.verdict.margin_points,
    }
    yield from _rows(run | verdict | {"arm": BASELINE}, judged.baseline.tasks, None)
    endpoint = {
        **_arm(report),
        "recipe": endpoint_recipe(report.spec.endpoint),
        "recipe_name": arm_of(report),
        **pooled_of(judged.comparison.pooled),
    }
    yield from _rows(run | verdict | endpoint, report.tasks, judged)


def arm_of(report: EndpointReport) -> str:
    """Return what an endpoint is called beside other arms: its model and its address."""
    return f"{report.spec.endpoint.model}@{report.spec.endpoint.base_url}"


def _arm(report: EndpointReport) -> dict[str, object]:
    return {"arm": arm_of(report), "revision": report.spec.endpoint.version}


def _run(report: EndpointReport) -> dict[str, object]:
    return {
        "run_id": report.run_id,
        "created": report.created.isoformat(),
        "label": report.spec.results.label,
        "model": report.spec.endpoint.model,
        "run_seconds": report.seconds,
    }


def _rows(
    cells: dict[str, object], tasks: dict[str, TaskScores], judged: EndpointJudgement | None
) -> Iterator[dict[str, object]]:
    for scores in tasks.values():
        for metric, value in scores.metrics.items():
            compared = compared_of(judged.comparison, scores.name, metric) if judged else {}
            yield {**cells, **score_of(scores, metric, value), **compared}
