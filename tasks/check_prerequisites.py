"""Refuse a run that cannot work, before anything is downloaded or started."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import httpx
from prefect import task
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException
from prefect.runtime import deployment, flow_run

from infra.contracts.specs import RunSpec
from infra.judging.planning import planned
from infra.machine import interrupts
from infra.machine.parent import end_with
from infra.preflight import found_before, refuse, survey, table
from infra.preflight.replaced import replaced
from infra.stages.run_key import INPUTS, inputs_of, run_key
from infra.stages.sharing import take_history
from infra.store import store_format
from infra.store.run_folder import RunFolder, open_run
from infra.store.settings import Settings
from tasks.news import delivered
from tasks.prefect_api import configured_api
from tasks.progress import reported_to_prefect
from tasks.task_page import show


@task(name="check-prerequisites", task_run_name="check-prerequisites")
def check_prerequisites(spec: RunSpec) -> RunFolder:
    """Look at everything the run needs, log the table, open the run's folder.

    It keeps there what the run starts from, and the plan. What the command line looked at a moment
    ago, with the same inputs, is not looked at again.

    Raises:
        PreflightError: Something is missing; every problem is named at once.
    """
    settings = Settings()
    with reported_to_prefect() as progress:
        findings = found_before(lambda: (spec, settings, run_key(spec, settings))) or survey(
            spec,
            settings=settings,
            progress=progress,
            configured=configured_api,
            fetch_rows=True,
            in_flow=True,
        )
        findings += replaced(_deployed(), spec)
        progress.say(f"preflight\n{table(findings)}")
        show(f"```text\n{table(findings)}\n```", "What the run needs, and what is there")
        delivered(5.0)  # a run that is refused ends here
        refuse(findings)
        run = open_run(spec, settings, created=flow_run.scheduled_start_time, key=str(flow_run.id))
        run.write(INPUTS, inputs_of(spec, settings))
        take_history(spec.results, settings, progress)
        if (power := planned(spec, settings, progress)) is not None:
            run.write("plan", power)
    return run


def _deployed() -> dict[str, Any]:
    """Return the parameters of the deployment that this run is of; nothing if it is of none."""
    if deployment.id is None:
        return {}
    with suppress(PrefectException, httpx.HTTPError), get_client(sync_client=True) as client:
        return dict(client.read_deployment(deployment.id).parameters)
    return {}


def begin_run(settings: Settings) -> None:
    """Tie this run to its worker, unless it shall outlive it, and to the store as it is now.

    From here on no signal that ends it is lost.

    Raises:
        AssayError: A newer version has written to the store.
    """
    interrupts.hear()
    if not settings.outlive_worker:
        end_with_worker()
    store_format.begin(settings.cache)


def end_with_worker() -> None:
    """End this run when the worker ends that carries it out."""
    # Workers and runners say by this variable which run their child is to carry out. In a container
    # the parent is its init, or none, and the container ends with both.
    if "PREFECT__FLOW_RUN_ID" in os.environ and (parent := os.getppid()) > 1:
        end_with(parent)
