"""Add an arm's adapter to the weights that it was trained on."""

from __future__ import annotations

from prefect import task

from infra.contracts.records import Adapter, Checkpoint, PythonEnvironment, Weights
from infra.contracts.specs import RunSpec
from infra.contracts.specs.places import errors_placed
from infra.models.chat_template import moment_of
from infra.quantizers import quantizer_of
from infra.quantizers.merging import recipe_of
from infra.report import notes
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tasks.outcomes import outcome
from tasks.progress import reported_to_prefect
from tasks.task_page import show


@task(name="merge-adapter", task_run_name="merge-adapter-{arm}")
def merge_adapter(
    arm: str,
    weights: Weights,
    adapter: Adapter,
    spec: RunSpec,
    environment: PythonEnvironment,
    run: RunFolder,
) -> Checkpoint:
    """Return the whole model that comes of it; the same adapter on the same weights is merged once.

    It is not looked at: its numbers are no longer the model's, and were rounded to nothing.
    """
    recipe = recipe_of(adapter, weights)
    with (
        errors_placed(spec.places(arm)),
        reported_to_prefect() as progress,
        run.stage(f"merge-{arm}") as timed,
    ):
        checkpoint, timed.reused = quantizer_of(recipe).make(
            weights,
            recipe,
            environment=environment,
            moment=moment_of(spec.evaluation),
            template_variables={},
            settings=Settings(),
            progress=progress,
            log=run.log(f"merge-{arm}"),
            trust_remote_code=spec.arms[arm].model.trust_remote_code,
        )
    log = run.log(f"merge-{arm}")
    show(notes.of_checkpoint(checkpoint, weights, log=log), f"The whole model of {arm}")
    return outcome(checkpoint, reused=timed.reused)
