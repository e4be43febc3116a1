"""Fetch a model's weights from where the spec says, whole and verified."""

from __future__ import annotations

from prefect import task

from infra.contracts.records import Weights
from infra.contracts.specs import ModelSpec
from infra.models import weights as store
from infra.report import notes
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tasks.outcomes import may_heal
from tasks.progress import reported_to_prefect
from tasks.task_page import show


@task(
    name="fetch-weights",
    task_run_name="fetch-weights-{arm}",
    retries=2,
    retry_delay_seconds=[10, 60],
    retry_condition_fn=may_heal,
)
def fetch_weights(arm: str, model: ModelSpec, run: RunFolder) -> Weights:
    """Return the folder of an arm's model; a download that was cut goes on where it stopped."""
    with reported_to_prefect() as progress, run.stage(f"weights-{arm}"):
        weights = store.fetch(model, settings=Settings(), progress=progress)
    run.write(f"weights-{arm}", weights)
    show(notes.of_weights(weights), f"The weights of {arm}")
    return weights
