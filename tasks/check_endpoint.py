"""Find out what an endpoint can, and refuse a run that cannot work, before it is asked a task."""

from __future__ import annotations

from prefect import task
from prefect.runtime import flow_run

from infra.contracts.records.endpoint import Found
from infra.contracts.specs.endpoint_run import EndpointRunSpec
from infra.judging.planning import planned
from infra.preflight import refuse, table
from infra.preflight.endpoint import survey_endpoint, surveyed_before
from infra.store.run_folder import RunFolder, open_run
from infra.store.settings import Settings
from tasks.check_prerequisites import begin_run
from tasks.news import delivered
from tasks.prefect_api import configured_api
from tasks.progress import reported_to_prefect
from tasks.task_page import show


@task(name="check-endpoint", task_run_name="check-endpoint")
def check_endpoint(spec: EndpointRunSpec) -> tuple[RunFolder, Found, str | None]:
    """Ask the endpoint what it can, log the table, open the run's folder.

    It keeps there what was found, and the plan if there is a baseline to judge it by. What the
    command line found a moment ago is not asked for again.

    Returns:
        The run's folder, what was found, and the folder of the tokenizer, if there is one.

    Raises:
        PreflightError: Something is missing; every problem is named at once.
    """
    settings = Settings()
    begin_run(settings)
    with reported_to_prefect() as progress:
        survey = surveyed_before(spec, settings) or survey_endpoint(
            spec,
            settings=settings,
            progress=progress,
            configured=configured_api,
            fetch_rows=True,
            in_flow=True,
        )
        progress.say(f"preflight\n{table(survey.findings)}")
        show(f"```text\n{table(survey.findings)}\n```", "What the run needs, and what is there")
        delivered(5.0)  # a run that is refused ends here
        refuse(survey.findings)
        assert survey.found is not None  # noqa: S101 -- without it there is a problem
        run = open_run(spec, settings, created=flow_run.scheduled_start_time, key=str(flow_run.id))
        run.write("found", survey.found)
        if spec.baseline is not None and (power := planned(spec, settings, progress)) is not None:
            run.write("plan", power)
    return run, survey.found, str(survey.tokenizer) if survey.tokenizer else None
