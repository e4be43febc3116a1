"""Fetch an arm's adapter from where the spec says, whole, verified, and made for its model."""

from __future__ import annotations

from prefect import task

from infra.contracts.records import Adapter, Weights
from infra.contracts.specs import AdapterSpec
from infra.models import lora
from infra.report import notes
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tasks.outcomes import may_heal
from tasks.progress import reported_to_prefect
from tasks.task_page import show


@task(
    name="fetch-adapter",
    task_run_name="fetch-adapter-{arm}",
    retries=2,
    retry_delay_seconds=[10, 60],
    retry_condition_fn=may_heal,
)
def fetch_adapter(arm: str, adapter: AdapterSpec, weights: Weights, run: RunFolder) -> Adapter:
    """Return the folder of an arm's adapter, which fits the weights that it is put on."""
    with reported_to_prefect() as progress, run.stage(f"adapter-{arm}"):
        found = lora.fetch(adapter, settings=Settings(), progress=progress)
        lora.check_fits(found, weights)
    run.write(f"adapter-{arm}", found)
    show(notes.of_adapter(found), f"The adapter of {arm}")
    return found
