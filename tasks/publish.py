"""Record a finished run: report, history, Prefect artifacts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from uuid import UUID

import httpx
from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.events.related import tags_as_related_resources
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from infra import report
from infra.contracts.records import ArmResult, Comparison, Report
from infra.contracts.specs import RunSpec
from infra.report import receipt, trend
from infra.report.trend import alerts, rows
from infra.stages import publishing, sharing
from infra.store import history
from infra.store.run_folder import RunFolder, runs_folder
from infra.store.settings import Settings
from tasks.outcomes import Published
from tasks.prefect_api import ui_address
from tasks.progress import timed

_LOCAL_UI = "http://127.0.0.1:4200"
"""Where `make ui` shows the runs of this machine's own Prefect database."""


@task(name="publish", task_run_name="publish")
def publish(
    arms: dict[str, ArmResult],
    compared: dict[str, Comparison],
    failed: dict[str, str],
    spec: RunSpec,
    run: RunFolder,
) -> Published:
    """Write the report and the history, show both in the Prefect UI, emit what came out as events.

    Args:
        arms: The baseline, then every candidate that was evaluated.
        compared: Candidate → its comparison with the baseline.
        failed: Candidate → why there is no result of it.
        spec: The run.
        run: The run's folder.

    Returns:
        The report's path, and its verdict if there was a candidate.
    """
    with timed("writing the report"):
        finished = publishing.assemble(
            arms, compared, failed, spec, run, settings=Settings(), prefect_url=_run_page()
        )
        path = report.write(finished, folder=run.path)
    _log(finished, path)
    # The report stands. Whatever else cannot be shown now must not turn its verdict into a failure.
    runs = runs_folder(spec.results, Settings())
    with timed("history, and the pages in Prefect") as progress:
        for show in (partial(_remember, runs=runs), _emit, partial(_chart, runs=runs), _show):
            try:
                show(finished)
            except Exception as error:
                why = f"The report is written, but not shown everywhere: {error}"
                get_run_logger().warning(why)
                if isinstance(error, httpx.TransportError):
                    break  # it was waited for the Prefect API long enough
        sharing.leave(run, spec.results, Settings(), progress, finished)
    return Published(path, finished.verdict if finished.spec.candidates else None)


def _emit(finished: Report) -> None:
    # Tags that a run was given after it began are known to the server alone.
    with get_client(sync_client=True) as client:
        tags = client.read_flow_run(UUID(str(flow_run.id))).tags
    for event in alerts.events(finished):
        emit_event(**event, related=tags_as_related_resources(set(tags)))


def _remember(finished: Report, runs: Path) -> None:
    if not_exported := rows.record(finished, runs):
        get_run_logger().warning(str(not_exported))
    trend.write(runs)


def _chart(finished: Report, runs: Path) -> None:
    frame = history.read(runs, trend.COLUMNS, label=finished.spec.results.label)
    charts = [trend.markdown(trend.trends(frame, trend.kind_of(pair))) for pair in finished.pairs]
    create_markdown_artifact(
        "\n\n".join(charts),
        key=f"history-{finished.spec.results.label}",
        description="Runs of this kind over time",
    )


def _show(finished: Report) -> None:
    label = finished.spec.results.label
    create_markdown_artifact(
        report.artifact_markdown(finished),
        key=f"report-{label}",
        description=report.artifact_description(finished),
    )
    create_table_artifact(
        report.artifact_table(finished),
        key=f"metrics-{label}",
        description=finished.verdict.headline,
    )


def _log(finished: Report, path: Path) -> None:
    logger = get_run_logger()
    logger.info(finished.verdict.headline)
    for name, judged in finished.judged.items():
        for reason in judged.alert.reasons if judged.alert else ():
            logger.warning(f"{name} is worse than before: {reason}")
        if judged.not_compared:
            logger.warning(f"{name}: no comparison with earlier runs: {judged.not_compared}")
    if finished.reused:
        logger.info(f"reused from earlier runs: {', '.join(finished.reused)}")
    logger.info(f"Prefect UI: {finished.provenance['prefect_url']}")
    logger.info(f"verdict there: {_ui()}/artifacts/key/report-{finished.spec.results.label}")
    logger.info(f"seal: {receipt.seal_of(path.parent)}")
    logger.info(f"report: {path}")


def _run_page() -> str:
    """Return the page of this flow run."""
    return f"{_ui()}/runs/flow-run/{flow_run.id}"


def _ui() -> str:
    """Return where the Prefect UI is: on the configured server, or where `make ui` shows it."""
    return ui_address() or _LOCAL_UI
