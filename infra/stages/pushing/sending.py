"""A planned push is put on a hub, and what arrived is held against it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from infra.contracts.errors import GatedRepository, PushRefused, RepositoryNotFound
from infra.contracts.progress import Progress
from infra.contracts.records import FileDigest
from infra.models.files import is_read_beside
from infra.models.hubs.hub import Hub, RemoteFile, Repository, Upload, connect, site
from infra.stages.pushing.planning import Push

_WEIGHTS = frozenset({".safetensors", ".bin", ".gguf", ".pt", ".pth"})
_TIMEOUT = 30.0
"""Seconds without an answer after which a listing is given up."""


def push(planned: Push, progress: Progress, *, private: bool = True) -> str:
    """Put it on the hub, and return the address of its page.

    Args:
        planned: What was planned, a moment ago.
        progress: Says what is sent.
        private: Whether a repository that is made for it is private.

    Raises:
        PushRefused: There is no token, other weights are there, or what arrived is not what was
            sent.
        HubUnreachable: The connection was lost, or the hub refuses what it is sent.
        GatedRepository: The hub does not let this user.
    """
    hub, repository = connect(planned.repository.source), planned.repository
    _require_token(hub)
    try:
        hub.create(repository, private=private)
        _require_no_others(hub, planned)
        progress.say(f"pushing\n{planned.table()}")
        with tempfile.TemporaryDirectory() as folder:
            hub.upload(
                repository,
                list(_uploads(planned, Path(folder))),
                message=f"{planned.candidate} of {planned.receipt.run_id}: PASS",
            )
    except GatedRepository as error:
        raise GatedRepository(
            error.fact,
            cause="The token may not write there.",
            remedy=f"Set {hub.token_variable} to a token that may write to {repository.id}.",
        ) from None
    except ValueError as error:  # the client's own, of a model card that its hub does not take
        raise PushRefused(
            f"{repository.source} does not take what it is sent.",
            cause=str(error).splitlines()[0],
            remedy="Nothing was published. Put it there by hand if it is only the model card.",
        ) from None
    _require_arrived(hub, planned)
    return f"{site(hub)}/{'models/' * (repository.source == 'modelscope')}{repository.id}"


def _require_token(hub: Hub) -> None:
    if not os.environ.get(hub.token_variable):
        raise PushRefused(
            f"There is no token: {hub.token_variable} is not set.",
            cause="Nothing is written with a login that somebody left on this machine.",
            remedy=f"Set {hub.token_variable} to a token that may write.",
        )


def _listed(hub: Hub, repository: Repository) -> dict[str, RemoteFile]:
    try:
        listing = hub.list(repository, hub.default_revision, timeout=_TIMEOUT)
    except RepositoryNotFound:  # of a new one some hubs know no revision yet
        return {}
    return {file.name: file for file in listing.files}


def _require_no_others(hub: Hub, planned: Push) -> None:
    """Refuse a repository in which loaders would find more than was evaluated."""
    ours = {file.name for file in planned.files}
    others = sorted({*_listed(hub, planned.repository)} - ours)
    if weights := [name for name in others if PurePosixPath(name).suffix in _WEIGHTS]:
        raise PushRefused(
            f"{planned.repository.id} holds other weights: {', '.join(weights[:3])}.",
            cause="They would stand beside these, and which of them is loaded nobody could tell.",
            remedy="Remove them there, or push to another repository.",
        )
    if texts := [name for name in others if is_read_beside(name)]:
        raise PushRefused(
            f"{planned.repository.id} holds other files that loaders read: {', '.join(texts[:3])}.",
            cause="A chat template, configuration or code that stays there changes what the model "
            "answers, and the verdict is not on that.",
            remedy="Remove them there, or push to another repository.",
        )


def _uploads(planned: Push, folder: Path) -> Iterator[Upload]:
    for name, text in planned.texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for file in planned.files:
        root = folder if file.name in planned.texts else planned.folder
        yield Upload(file.name, (root / file.name).resolve(), file.size, file.sha256)


def _require_arrived(hub: Hub, planned: Push) -> None:
    there = _listed(hub, planned.repository)
    for file in planned.files:
        remote = there.get(file.name)
        if remote and remote.size == file.size and _is(remote, file, planned):
            continue
        raise PushRefused(
            f"{planned.repository.id} does not hold {file.name} as it was sent.",
            cause="It was changed while it was sent, or the hub keeps something else.",
            remedy="Look at the repository, remove what is wrong there, and push again.",
        )


def _is(remote: RemoteFile, file: FileDigest, planned: Push) -> bool:
    if remote.sha256:
        return remote.sha256 == file.sha256
    text = planned.texts.get(file.name)
    here = planned.folder / file.name
    content = here.read_bytes() if text is None else text.encode("utf-8")
    if hashlib.sha256(content).hexdigest() != file.sha256:
        return False  # what was sent may be what lies here since then
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content)  # noqa: S324 -- git's own
    return remote.git_sha1 is None or remote.git_sha1 == blob.hexdigest()
