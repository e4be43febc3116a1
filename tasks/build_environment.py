"""Build the Python environment that a stage runs in, unless it is there already."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.runtime import task_run

from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.machine.device import detect
from infra.machine.environments import Stage, ensure, locate
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tasks.outcomes import may_heal, outcome
from tasks.progress import reported_to_prefect


def _name() -> str:
    """Return the name of the task run: `build-environment-server`."""
    given = task_run.parameters
    return f"build-environment-{_what(given['stage'], given['arm'])}"


def _what(stage: Stage, arm: str | None) -> str:
    return stage if arm is None else f"{stage}-{arm}"


@task(
    name="build-environment",
    task_run_name=_name,
    retries=1,
    retry_delay_seconds=10,
    retry_condition_fn=may_heal,
)
def build_environment(
    stage: Stage, serving: ServingSpec, run: RunFolder, arm: str | None = None
) -> PythonEnvironment:
    """Return the environment of a stage, built once per machine and lock.

    Args:
        stage: What runs in it.
        serving: Names the device, and maybe an interpreter.
        run: Receives the log.
        arm: The candidate that has another one than the baseline.
    """
    settings = Settings()
    kind = detect(serving.device).kind
    python = Path(serving.python) if serving.python else None
    _, present = locate(stage, kind, settings, python)
    name = f"environment-{_what(stage, arm)}"
    with reported_to_prefect() as progress, run.stage(name) as timed:
        timed.reused = present
        environment = ensure(
            stage, kind, settings=settings, progress=progress, log=run.log(name), python=python
        )
    return outcome(environment, reused=present)
