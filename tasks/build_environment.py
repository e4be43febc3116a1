"""Build the Python environment of an engine or a quantizer, unless it is there already."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from prefect import task
from prefect.runtime import task_run

from infra.contracts.records import PythonEnvironment
from infra.machine.device import detect
from infra.machine.environments import ensure, locate
from infra.report import notes
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tasks.outcomes import may_heal, outcome
from tasks.progress import reported_to_prefect
from tasks.task_page import show


def _name() -> str:
    """Return the name of the task run: `build-environment-vllm`."""
    given = task_run.parameters
    return f"build-environment-{_what(given['program'], given['arm'])}"


def _what(program: str, arm: str | None) -> str:
    return program if arm is None else f"{program}-{arm}"


@task(
    name="build-environment",
    task_run_name=_name,
    retries=1,
    retry_delay_seconds=10,
    retry_condition_fn=may_heal,
)
def build_environment(
    program: str,
    device: Literal["auto", "cuda", "cpu"],
    run: RunFolder,
    *,
    python: str | None = None,
    arm: str | None = None,
) -> PythonEnvironment:
    """Return the environment of a program, built once per machine and lock.

    Args:
        program: What runs in it: `vllm`.
        device: What it computes on.
        run: Receives the log.
        python: The interpreter that the run names instead, if it does.
        arm: The candidate that has another one than the baseline.
    """
    settings = Settings()
    kind = detect(device).kind
    own = Path(python) if python else None
    _, present = locate(program, kind, settings, own)
    name = f"environment-{_what(program, arm)}"
    with reported_to_prefect() as progress, run.stage(name) as timed:
        timed.reused = present
        environment = ensure(
            program, kind, settings=settings, progress=progress, log=run.log(name), python=own
        )
    log = None if present else run.log(name)
    show(notes.of_environment(environment, log=log), f"The environment of {program}")
    return outcome(environment, reused=present)
