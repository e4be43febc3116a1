"""Ask an endpoint the tasks, and write the report."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from infra.contracts.records.endpoint import EndpointReport, Found
from infra.contracts.specs import EvaluationSpec
from infra.contracts.specs.endpoint_run import EndpointRunSpec
from infra.report import endpoint as report
from infra.report import receipt, trend
from infra.report.trend import endpoint_rows
from infra.stages import endpoint, sharing
from infra.store.run_folder import RunFolder, runs_folder
from infra.store.settings import Settings
from tasks.outcomes import Published
from tasks.progress import reported_to_prefect, timed


@task(name="ask-endpoint", task_run_name="ask-endpoint")
def ask_endpoint(
    spec: EndpointRunSpec,
    run: RunFolder,
    found: Found,
    tokenizer: str | None,
    asked: EvaluationSpec | None = None,
) -> Published:
    """Return the report's path and the verdict, if there is a baseline; record both.

    Tasks of a declared version are taken from earlier runs; `asked` holds what was retrieved for
    those that wait for it.

    Raises:
        AssayError: A task came to no result. Nothing of it is scored.
    """
    with reported_to_prefect() as progress, run.stage("ask-endpoint"):
        finished = endpoint.evaluate(
            spec, found, Path(tokenizer) if tokenizer else None,
            run=run, created=flow_run.scheduled_start_time, settings=Settings(), progress=progress,
            asked=asked,
        )  # fmt: skip
    with timed("writing the report"):
        page = report.write(finished, folder=run.path)
    logger = get_run_logger()
    # The report stands. Whatever else cannot be shown must not turn its verdict into a failure.
    for show in (partial(_remember, runs=runs_folder(spec.results, Settings())), _show):
        try:
            show(finished)
        except Exception as error:
            logger.warning(f"The report is written, but not shown everywhere: {error}")
    with reported_to_prefect() as progress:
        sharing.leave(run, spec.results, Settings(), progress)
    logger.info(report.headline(finished))
    logger.info(f"seal: {receipt.seal_of(run.path)}")
    logger.info(f"report: {page}")
    verdict = finished.judged.verdict if finished.judged else None
    return Published(page, verdict, measured=report.NOT_JUDGED)


def _remember(finished: EndpointReport, runs: Path) -> None:
    if not_exported := endpoint_rows.record(finished, runs):
        get_run_logger().warning(str(not_exported))
    trend.write(runs)


def _show(finished: EndpointReport) -> None:
    label, headline = finished.spec.results.label, report.headline(finished)
    create_markdown_artifact(report.markdown(finished), key=f"report-{label}", description=headline)
    create_table_artifact(
        report.score_cells(finished), key=f"metrics-{label}", description=headline
    )
