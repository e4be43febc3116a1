"""Serve one arm with vLLM, let it sit the exam, and take the server down."""

from __future__ import annotations

from prefect import task
from prefect.runtime import task_run

from infra.contracts.records import Arm, ArmResult, PythonEnvironment, QuantizedCheckpoint, Weights
from infra.contracts.specs import RunSpec
from infra.stages import arms
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tasks.outcomes import outcome
from tasks.progress import told_to_prefect


def _name() -> str:
    """Return the name of the task run: `evaluate-base`, and `evaluate-base-again`."""
    given = task_run.parameters
    return f"evaluate-{given['arm']}" + ("-again" if given["sitting"] > 1 else "")


@task(name="evaluate-arm", task_run_name=_name, tags={"gpu"})
def evaluate_arm(
    arm: Arm,
    model: Weights | QuantizedCheckpoint,
    spec: RunSpec,
    environment: PythonEnvironment,
    run: RunFolder,
    sitting: int = 1,
    base: ArmResult | None = None,
) -> ArmResult:
    """Return what the arm scored. The server lives and ends inside this task.

    A second sitting asks all of it again, in another order: for the noise floor. Beside the base
    arm, the quantized one may be stopped early, if the spec wants that.

    Tasks that an earlier run has paid for, on the same checkpoint under the same conditions, are
    taken from there; if that is all of them, no server is started.
    """
    name = arm if sitting == 1 else f"{arm}-again"
    with told_to_prefect() as progress, run.stage(f"evaluate-{name}") as timed:
        result = arms.evaluate(
            arm, model, spec,
            environment=environment, run=run, settings=Settings(), progress=progress,
            sitting=sitting, base=base,
        )  # fmt: skip
        timed.reused = all(task.reused for task in result.tasks.values())
    run.write(f"arm-{name}", result)
    return outcome(result, reused=timed.reused)
