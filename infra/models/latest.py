"""Which revision of a model there is now, found out without downloading it."""

from __future__ import annotations

from infra.contracts.progress import Progress
from infra.contracts.specs import ModelSpec
from infra.models.hubs.hub import Repository, connect
from infra.models.hubs.revisions import ask
from infra.models.weights import inspect_spec
from infra.store.settings import Settings

_SECONDS = 15.0
_ATTEMPTS = 3


def latest(spec: ModelSpec, *, settings: Settings, progress: Progress) -> str:
    """Return the commit that a model's branch stands for on its hub now; of a folder its digest.

    What an earlier answer said is no answer: a hub that is away is an error here.

    Args:
        spec: Which model, and which branch or tag of it.
        settings: Where the digests of folders are remembered.
        progress: Hears of bytes while a folder is read.

    Raises:
        HubUnreachable: No answer from the hub.
        WeightsError: There is no such model or revision, it may not be seen, or the folder holds
            no whole model: one that is being copied, say.
    """
    if spec.source == "local":
        return inspect_spec(spec, settings=settings, progress=progress).digest
    repository = Repository(spec.source, "model", spec.id)
    revision = spec.revision or connect(spec.source).default_revision
    return ask(
        connect(spec.source), repository, revision, timeout=_SECONDS, attempts=_ATTEMPTS
    ).commit
