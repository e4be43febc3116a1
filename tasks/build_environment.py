"""Build the Python environment that a stage runs in, unless it is there already."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.machine.device import detect
from infra.machine.environments import Stage, ensure, locate
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tasks.outcomes import may_heal, outcome
from tasks.progress import told_to_prefect


@task(
    name="build-environment",
    task_run_name="build-environment-{stage}",
    retries=1,
    retry_delay_seconds=10,
    retry_condition_fn=may_heal,
)
def build_environment(stage: Stage, serving: ServingSpec, run: RunFolder) -> PythonEnvironment:
    """Return the environment of a stage, built once per machine and lock."""
    settings = Settings()
    kind = detect(serving.device).kind
    python = Path(serving.python) if serving.python else None
    _, present = locate(stage, kind, settings, python)
    name = f"environment-{stage}"
    with told_to_prefect() as progress, run.stage(name) as timed:
        timed.reused = present
        environment = ensure(
            stage, kind, settings=settings, progress=progress, log=run.log(name), python=python
        )
    return outcome(environment, reused=present)
