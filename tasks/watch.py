"""Models that are watched: a new revision starts a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from prefect import State, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from prefect.variables import Variable

from infra.contracts.errors import AssayError, SpecError
from infra.contracts.specs import ModelSpec
from infra.models.latest import latest
from infra.store.content import digest_of
from infra.store.settings import Settings
from tasks.progress import reported_to_prefect

_KEY_DIGITS = 16


def watch(models: Sequence[ModelSpec], deployment: str, at_first_sight: bool) -> State[Any]:
    """Look at each model inside a flow, and start a run of a deployment for what changed.

    A model that cannot be seen is news, not a new revision; the others are looked at all the same.

    Returns:
        `Started`, `Unchanged` or `Unanswered`, where a hub does not answer; or a failure, where
        somebody has to do something first.
    """
    own = _parameters(deployment)
    errors: list[AssayError] = []
    started: list[str] = []
    for model in models:
        try:
            given = given_to(own, model, deployment)
            if (run := look(model, deployment, given, at_first_sight)) is not None:
                started.append(run)
        except AssayError as error:
            get_run_logger().warning(f"{model.id}: {error}")
            errors.append(error)
    said = [f"{len(models)} looked at", *(f"started {run}" for run in started)]
    said += [error.fact for error in errors]
    message = "; ".join(said)
    if lasting := [error for error in errors if not error.may_heal]:
        return Failed(message=message, data=lasting[0])
    name = "Started" if started else "Unanswered" if errors else "Unchanged"
    return Completed(name=name, message=message, data=started)


@task(name="look-at-model", task_run_name="look-at-{model.id}")
def look(
    model: ModelSpec, deployment: str, parameters: dict[str, Any], at_first_sight: bool
) -> str | None:
    """Start a run if a model is another than when one was last started; return the run's name.

    Two that look at the same time start one run: the server knows it by deployment, model and
    revision, and by when it was another. It is remembered only when the run is there, so that none
    is lost between the two.
    """
    with reported_to_prefect() as progress:
        revision = latest(model, settings=Settings(), progress=progress)
    branch = f"{model.id}@{model.revision}" if model.revision else model.id
    watched = {"deployment": deployment, "source": model.source, "model": branch}
    name = f"assay_seen_{digest_of(watched)[:_KEY_DIGITS]}"
    seen = cast(dict[str, Any] | None, Variable.get(name))
    logger = get_run_logger()
    if seen is not None and seen["revision"] == revision:
        logger.info(f"{branch} is still {revision}.")
        return None
    run = None
    if seen is not None or at_first_sight:
        # A branch may go back to what it was: that is another run than the one of then.
        key = digest_of({**watched, "revision": revision, "after": seen["since"] if seen else None})
        run = cast(
            FlowRun,
            run_deployment(
                deployment,
                parameters=parameters,
                timeout=0,
                idempotency_key=key,
                as_subflow=False,
                tags=["new-revision"],
            ),
        )
        before = f", {seen['revision']} before" if seen else ""
        logger.info(f"{branch} is {revision} now{before}: {deployment} runs as {run.name}.")
    else:
        logger.info(f"{branch} is {revision}, seen for the first time: what comes next is new.")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    Variable.set(name, {**watched, "revision": revision, "since": now}, overwrite=True)
    return run.name if run else None


def given_to(own: Mapping[str, Any], model: ModelSpec, deployment: str) -> dict[str, Any]:
    """Return the parameters by which a deployment runs a model.

    Args:
        own: Those of the deployment.
        model: The one that is watched.
        deployment: Its name, for messages.

    Raises:
        SpecError: Neither do its parameters name the model, nor does it take one; or they name
            another revision of it than the one that is watched.
    """
    said = model.model_dump(mode="json", exclude_defaults=True) | {"source": model.source}
    if isinstance(there := own.get("model"), Mapping):
        if not _same(there, model):
            return {"model": said}
        kept = {name: value for name, value in there.items() if name != "revision"}
        return {"model": {**kept, **said}}
    named = [one for one in _objects(own) if _same(one, model)]
    if any(one.get("revision") == model.revision for one in named):
        return {}
    if named:
        fixed = named[0].get("revision") or "of its default branch"
        raise SpecError(
            f"The deployment {deployment} evaluates another revision of {model.id} than is "
            "watched.",
            cause=f"Its parameters name the revision {fixed}, watched is "
            f"{model.revision or 'that of its default branch'}: what is new there it would never "
            "evaluate.",
            remedy="Name the same revision in both, or none.",
        )
    raise SpecError(
        f"The deployment {deployment} evaluates no {model.id}.",
        cause="Its parameters name other models, and it has no parameter `model` to give one to.",
        remedy="Name a deployment of quantize-and-evaluate, or one whose baseline or candidates "
        "are this model.",
    )


def _same(there: Mapping[str, Any], model: ModelSpec) -> bool:
    """Return whether a part of the parameters names a model."""
    default = ModelSpec.model_fields["source"].default
    return (there.get("id"), there.get("source", default)) == (model.id, model.source)


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    """Return all objects within parameters."""
    if isinstance(value, Mapping):
        yield value
        value = list(value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        for one in value:
            yield from _objects(one)


def _parameters(deployment: str) -> dict[str, Any]:
    with get_client(sync_client=True) as client:
        try:
            return dict(client.read_deployment_by_name(deployment).parameters)
        except ObjectNotFound as error:
            raise SpecError(
                f"There is no deployment {deployment}.",
                cause="It is misspelt (FLOW/DEPLOYMENT), or not registered on this server.",
                remedy="`prefect deployment ls` lists those that are; `make deploy` registers "
                "those of prefect.yaml.",
            ) from error
