"""What a model on a hub takes to download, told without downloading it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from infra.contracts.errors import HubUnreachable
from infra.contracts.specs import ModelSpec
from infra.hubs.base import Repository, connect
from infra.hubs.revisions import resolve
from infra.model_folder import choose, is_weight
from infra.progress import Silent
from infra.settings import Settings


@dataclass(frozen=True)
class RemoteSize:
    """What a model takes to download."""

    commit: str | None
    """What the revision stands for; none for a local folder."""
    bytes: int
    """Of all files that would be downloaded."""
    files: int
    present: bool
    """True if nothing has to be downloaded; then `bytes` and `files` are 0."""
    weight_bytes: int = 0
    """Of the weight files, wherever they are; 0 for a local folder."""
    config: Mapping[str, Any] | None = None
    """The model's config.json, if it was asked for and could be read."""


def remote_size(
    spec: ModelSpec,
    *,
    timeout: float,
    settings: Settings | None = None,
    read_config: bool = False,
) -> RemoteSize:
    """Return what a model takes to download, without downloading anything.

    Args:
        spec: Which model.
        timeout: Seconds until the hub counts as unreachable; the client's own patience is longer.
        settings: Where downloads are kept, if not where the environment says. What is here
            already counts as present, and a commit that is here is not asked for.
        read_config: Read the model's config.json as well.

    Raises:
        HubUnreachable: No answer from the hub within the time.
        RepositoryNotFound: No such repository or revision for this token.
        GatedRepository: Access has to be asked for; the message says where.
        UnsafeWeights: There are only pickles.
        WeightsError: There are no weights.
    """
    if spec.source == "local":
        return RemoteSize(commit=None, bytes=0, files=0, present=True)
    repository = Repository(spec.source, "model", spec.id)
    what = resolve(
        repository,
        spec.revision,
        (settings or Settings()).weights,
        timeout=timeout,
        attempts=1,
        progress=Silent(),
    )
    if what.listing is None or what.folder.is_dir():
        here = [file for file in what.folder.iterdir() if is_weight(file.name)]
        return RemoteSize(
            commit=what.commit,
            bytes=0,
            files=0,
            present=True,
            weight_bytes=sum(file.stat().st_size for file in here),
            config=_config((what.folder / "config.json").read_bytes()) if read_config else None,
        )
    sizes = {file.name: file.size for file in what.listing.files}
    names = choose(
        list(sizes),
        what=f"model {spec.id}",
        allow_pickle=spec.allow_pickle,
        trust_remote_code=spec.trust_remote_code,
    )
    config = None
    if read_config and "config.json" in sizes:
        with suppress(HubUnreachable):
            config = _config(
                connect(spec.source).read(repository, what.listing, "config.json", timeout=timeout)
            )
    return RemoteSize(
        commit=what.commit,
        bytes=sum(sizes[name] for name in names),
        files=len(names),
        present=False,
        weight_bytes=sum(sizes[name] for name in names if is_weight(name)),
        config=config,
    )


def _config(content: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
