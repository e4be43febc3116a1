"""Ask an endpoint the tasks, and write the report."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed

from infra.contracts.records.endpoint import Found
from infra.contracts.specs.endpoint import EndpointRunSpec
from infra.report import endpoint as report
from infra.stages import endpoint
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tasks.progress import reported_to_prefect


@task(name="ask-endpoint", task_run_name="ask-endpoint")
def ask_endpoint(
    spec: EndpointRunSpec, run: RunFolder, found: Found, tokenizer: str | None
) -> Path:
    """Return the path of the report; tasks of a declared version are taken from earlier runs.

    Raises:
        AssayError: A task came to no result. Nothing of it is scored.
    """
    with reported_to_prefect() as progress, run.stage("ask-endpoint"):
        finished = endpoint.evaluate(
            spec, found, Path(tokenizer) if tokenizer else None,
            run=run, created=flow_run.scheduled_start_time, settings=Settings(), progress=progress,
        )  # fmt: skip
    page = report.write(finished, folder=run.path)
    logger = get_run_logger()
    try:
        label = spec.results.label
        create_markdown_artifact(
            report.markdown(finished), key=f"report-{label}", description=report.headline(finished)
        )
        create_table_artifact(
            report.score_cells(finished),
            key=f"metrics-{label}",
            description=report.headline(finished),
        )
    except Exception as error:  # the report stands
        logger.warning(f"The report is written, but not shown everywhere: {error}")
    logger.info(report.headline(finished))
    logger.info(f"report: {page}")
    return page


def measured(page: Path) -> Path:
    """Return the report's path, in the state in which such a flow run ends."""
    message = "The endpoint is measured; there is no candidate to judge."
    return cast(Path, Completed(name="Measured", message=message, data=page))
