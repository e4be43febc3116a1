"""Make an arm's checkpoint from its weights, on the user's own conversations."""

from __future__ import annotations

from prefect import task

from infra.contracts.records import Checkpoint, PythonEnvironment, Weights
from infra.contracts.specs import Recipe, RunSpec
from infra.contracts.specs.places import errors_placed
from infra.models.chat_template import moment_of
from infra.probes.triage import look_at_files
from infra.quantizers import quantizer_of
from infra.report import notes
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from infra.suite.prompt_check import check_prompts
from tasks.outcomes import outcome
from tasks.progress import reported_to_prefect
from tasks.task_page import show


@task(name="quantize", task_run_name="quantize-{arm}")
def quantize(
    arm: str,
    weights: Weights,
    recipe: Recipe,
    spec: RunSpec,
    environment: PythonEnvironment,
    run: RunFolder,
    baseline: Weights | None = None,
) -> Checkpoint:
    """Return an arm's checkpoint; the same recipe on the same weights is made once.

    Tasks that cannot be put to the model stop here, before anything is paid for; so does a
    checkpoint whose files are broken, before any arm is evaluated.

    With the baseline's weights, its tokenizer and its template write the prompts.
    """
    whole = spec.arms[arm]
    writer = whole if baseline is None else spec.baseline
    with (
        errors_placed(spec.places(arm)),
        reported_to_prefect() as progress,
        run.stage(f"quantize-{arm}") as timed,
    ):
        check_prompts(
            spec.evaluation,
            whole,
            weights.path,
            (baseline or weights).path,
            settings=Settings(),
            progress=progress,
            trust_remote_code=writer.model.trust_remote_code,
        )
        checkpoint, timed.reused = quantizer_of(recipe).make(
            weights,
            recipe,
            environment=environment,
            moment=moment_of(spec.evaluation),
            template_variables=spec.evaluation.chat_template_kwargs,
            settings=Settings(),
            progress=progress,
            log=run.log(f"quantize-{arm}"),
            trust_remote_code=whole.model.trust_remote_code,
        )
        look_at_files(arm, checkpoint, weights, spec.evaluation.triage, run=run, progress=progress)
    log = run.log(f"quantize-{arm}")
    show(notes.of_checkpoint(checkpoint, weights, log=log), f"The checkpoint of {arm}")
    return outcome(checkpoint, reused=timed.reused)
