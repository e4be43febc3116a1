"""Cut pairs of answers to the baseline's window, for all arms alike."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from infra.contracts.specs import ArmSpec, EvaluationSpec
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from infra.suite import cutting
from infra.suite.prompt_check import window_of
from tasks.progress import reported_to_prefect


@task(name="cut-texts", task_run_name="cut-texts")
def cut_texts(
    evaluation: EvaluationSpec, baseline: ArmSpec, folder: Path, run: RunFolder
) -> EvaluationSpec:
    """Return the tasks with pairs that fit the baseline's window, by its own tokenizer.

    Args:
        evaluation: The tasks and their conditions.
        baseline: How it is served.
        folder: With its tokenizer and its configuration.
        run: Is told how long it took.
    """
    with reported_to_prefect() as progress, run.stage("cut-texts"):
        return cutting.cut(
            evaluation, folder, window_of(baseline, folder),
            settings=Settings(), progress=progress,
            trust_remote_code=baseline.model.trust_remote_code,
        )  # fmt: skip
