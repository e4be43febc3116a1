"""Serve one arm, ask it the tasks, and take the server down."""

from __future__ import annotations

from typing import Any

from prefect import task

from infra.contracts.records import ArmResult, Checkpoint, PythonEnvironment
from infra.contracts.records.embedding import EmbeddingModel
from infra.contracts.specs import RunSpec
from infra.contracts.specs.places import errors_placed
from infra.report import notes
from infra.stages import arms
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tasks.outcomes import outcome
from tasks.progress import reported_to_prefect
from tasks.task_page import show


def _name(parameters: dict[str, Any]) -> str:
    """Return the name of the task run: `evaluate-baseline`, and `evaluate-baseline-repeat`."""
    return f"evaluate-{parameters['arm']}" + (f"-{arms.REPEAT}" if parameters["repeat"] else "")


@task(name="evaluate-arm", task_run_name=_name)  # type: ignore[arg-type]
def evaluate_arm(
    arm: str,
    checkpoint: Checkpoint,
    spec: RunSpec,
    environment: PythonEnvironment,
    run: RunFolder,
    repeat: bool = False,
    baseline: ArmResult | None = None,
    embedding: EmbeddingModel | None = None,
) -> ArmResult:
    """Return what the arm scored. The server lives and ends inside this task.

    A repeat asks all of it again, in another order: for the noise floor. Beside the baseline, a
    candidate may be stopped early, if the spec wants that.

    Tasks that an earlier run has paid for, on the same checkpoint under the same conditions, are
    taken from there; if that is all of them, no server is started.
    """
    name = f"{arm}-{arms.REPEAT}" if repeat else arm
    with (
        errors_placed(spec.places(arm)),
        reported_to_prefect() as progress,
        run.stage(f"evaluate-{name}") as timed,
    ):
        run.write(f"checkpoint-{arm}", checkpoint)
        result = arms.evaluate(
            arm, checkpoint, spec,
            environment=environment, run=run, settings=Settings(), progress=progress,
            repeat=repeat, baseline=baseline, embedding=embedding,
        )  # fmt: skip
        timed.reused = all(task.reused for task in result.tasks.values())
    run.write(f"arm-{name}", result)
    show(notes.of_arm(result, run.path), f"What {name} scored")
    return outcome(result, reused=timed.reused)
