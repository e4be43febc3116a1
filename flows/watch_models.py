"""Is there a new revision of a model? Then evaluate it."""

from __future__ import annotations

from typing import Any

from prefect import State, flow

from infra.contracts.specs import ModelSpec
from tasks.watch import watch


@flow(name="watch-models")
def watch_models(
    models: list[ModelSpec],
    deployment: str = "quantize-and-evaluate/revisions",
    at_first_sight: bool = False,
) -> State[Any]:
    """Ask the hubs which revision each model has, and start a run for what changed.

    Nothing is downloaded. What a run was last started for is kept in a Prefect variable, so that a
    revision is run once, whoever watches.

    Args:
        models: The models to look at. Of a folder its content counts.
        deployment: What is run, as FLOW/DEPLOYMENT: one with a parameter `model`, which is then
            this one, or one whose parameters name the model.
        at_first_sight: Whether a model that was never looked at counts as new.
    """
    return watch(models, deployment, at_first_sight)
