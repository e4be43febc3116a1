"""What a model on a hub takes to download, found without downloading it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from infra.contracts.errors import CorruptWeights, HubUnreachable
from infra.contracts.progress import Silent
from infra.contracts.records import Quantization
from infra.contracts.specs import ModelSpec
from infra.models import quantization
from infra.models.files import choose, is_weight
from infra.models.folder import config_of
from infra.models.hubs.hub import Repository, connect
from infra.models.hubs.revisions import resolve
from infra.models.hubs.snapshots import files_in
from infra.models.place import Place, on_hub
from infra.store.settings import Settings

_OF_A_POINTER = range(100, 200)
"""Bytes that a pointer of Git LFS has: the sizes of files that may be one."""


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
    folder: Path | None = None
    """Where the model is, if it is here already; none for a local folder."""
    config: Mapping[str, Any] | None = None
    """The model's config.json, if it was asked for and could be read."""
    quantization: Quantization | None = None
    """How its small files say that it is quantized, if they were asked for; none if none says so,
    or none could be read."""


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
        read_config: Read the model's config.json as well, and what else may say that it is
            quantized.

    Raises:
        HubUnreachable: No answer from the hub within the time.
        RepositoryNotFound: No such repository or revision for this token.
        GatedRepository: Access has to be asked for; the message says where.
        UnsafeWeights: There are only pickles.
        CorruptWeights: config.json or the index is missing or broken, or a file is a pointer.
        WeightsError: There are no weights, or more than one model.
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
        place = on_hub(spec, what.folder)
        here = files_in(what.folder)
        names = _choose(list(here), place, spec)
        return RemoteSize(
            commit=what.commit,
            bytes=0,
            files=0,
            present=True,
            folder=what.folder if _is_whole(what.folder, here) else None,
            weight_bytes=sum(here[name] for name in names if is_weight(name)),
            config=_config_here(what.folder, place) if read_config else None,
            quantization=quantization.in_files(place.read) if read_config else None,
        )
    sizes = {file.name: file.size for file in what.listing.files}
    hub, listing = connect(spec.source), what.listing

    @cache
    def read(name: str) -> bytes | None:
        if name not in sizes:
            return None
        try:
            content = hub.read(repository, listing, name, timeout=timeout)
        except HubUnreachable:
            return None
        # What is kept elsewhere comes as a word about where.
        return content if len(content) == sizes[name] else None

    place = on_hub(spec, read)
    names = _choose(list(sizes), place, spec)
    config: Mapping[str, Any] | None = None
    if read_config:
        config = config_of(names, place)
        for name in names:
            if sizes[name] in _OF_A_POINTER and (content := read(name)):
                place.check_content(name, content)
    return RemoteSize(
        commit=what.commit,
        bytes=sum(sizes[name] for name in names),
        files=len(names),
        present=False,
        weight_bytes=sum(sizes[name] for name in names if is_weight(name)),
        config=config,
        quantization=quantization.in_files(read) if read_config else None,
    )


def _is_whole(folder: Path, files: Mapping[str, int]) -> bool:
    there = {name: folder / name for name in files}
    return all(path.is_file() and path.stat().st_size == files[n] for n, path in there.items())


def _config_here(folder: Path, place: Place) -> Mapping[str, Any] | None:
    try:
        return config_of([path.name for path in folder.iterdir()], place)
    except CorruptWeights as error:
        raise CorruptWeights(
            error.fact,
            cause=f"It was downloaded whole to {folder}, and changed there later.",
            remedy=f"Remove that download: `rm -r {shlex.quote(str(folder))}`. The next run "
            "downloads it again.",
        ) from error


def _choose(names: list[str], place: Place, spec: ModelSpec) -> list[str]:
    return choose(
        names,
        place,
        allow_pickle=spec.allow_pickle,
        trust_remote_code=spec.trust_remote_code,
    )
