"""Quantize the weights with AWQ on the user's own conversations."""

from __future__ import annotations

from prefect import task

from infra.contracts.records import PythonEnvironment, QuantizedCheckpoint, Weights
from infra.contracts.specs import RunSpec
from infra.models.chat_template import moment_of
from infra.probes.triage import look_at_files
from infra.quantizers.awq import quantizer
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from infra.suite.harness import prompts
from tasks.outcomes import outcome
from tasks.progress import told_to_prefect


@task(name="quantize", task_run_name="quantize", tags={"gpu"})
def quantize(
    weights: Weights, spec: RunSpec, environment: PythonEnvironment, run: RunFolder
) -> QuantizedCheckpoint:
    """Return the quantized checkpoint; the same recipe on the same weights is made once.

    An exam that cannot be put to the model stops here, before anything is paid for; so does a
    checkpoint whose files are broken, before any arm is evaluated.
    """
    with told_to_prefect() as progress, run.stage("quantize") as timed:
        prompts.check(spec, weights.path, settings=Settings(), progress=progress)
        checkpoint, timed.reused = quantizer.quantize(
            weights,
            spec.quantization,
            environment=environment,
            moment=moment_of(spec.evaluation),
            template_variables=spec.evaluation.chat_template_kwargs,
            settings=Settings(),
            progress=progress,
            log=run.log("quantize"),
            trust_remote_code=spec.model.trust_remote_code,
        )
        look_at_files(checkpoint, weights, spec.evaluation.triage, run=run, progress=progress)
    run.write("checkpoint", checkpoint)
    return outcome(checkpoint, reused=timed.reused)
