"""What is on a hub: models and rows. Asked for, never downloaded.

Nobody but the configured hubs is asked, each with a short patience.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from infra.contracts.errors import GatedRepository, HubUnreachable
from infra.contracts.progress import Silent
from infra.contracts.specs import CalibrationSpec, DatasetSpec, ModelSpec
from infra.models.hubs.hub import Listing, Repository, Source, connect, site
from infra.models.hubs.revisions import ask, resolve
from infra.models.remote_weights import RemoteSize, remote_size
from infra.preflight.findings import Finding, note
from infra.store.settings import Settings
from infra.suite.sources import RowSource

SECONDS = 3.0
"""Patience with each question."""

_GATED = {"Idavidrein/gpqa"}
"""Datasets of lm-eval's tasks that are gated: without a token there is no use in asking."""

_MEGABYTE = 1_000_000
_HERE = "is here already"

NOT_NAMED = "; evaluation.datasets does not name it"
"""Ends what is said of rows that come from where their task says."""


def model(spec: ModelSpec, settings: Settings) -> tuple[Finding | str, RemoteSize]:
    """Ask the hub what a model takes to download, and for its config.json.

    Raises:
        WeightsError: It is not to be had.
    """
    size = remote_size(spec, timeout=SECONDS, settings=settings, read_config=True)
    commit = (size.commit or "")[:12]
    if size.present:
        return f"{spec.id}@{commit} is here already", size
    found = f"{spec.id}@{commit} on {spec.source}: {size.files} files, {size.bytes / 1e9:.1f} GB"
    return found, size


def rows(source: RowSource, settings: Settings) -> Finding | str:
    """Check that the rows of a task can be had by this user.

    Raises:
        DatasetError: They should be in a folder here and are not.
        WeightsError: The hub does not give them.
    """
    if (hub := source.hub) is None or hub.source == "local":
        return source.find()
    if not source.named:
        return _as_the_task_says(hub.path, hub.revision or "main")
    return _on_a_hub(hub.source, hub.path, hub.revision, settings)


def conversations(spec: CalibrationSpec, settings: Settings) -> tuple[str, bool]:
    """Check that a calibration set on a hub can be had by this user.

    Returns:
        What was found, and whether it is here already.

    Raises:
        WeightsError: It cannot.
    """
    source: Source = "modelscope" if spec.source == "modelscope" else "huggingface"
    found = _on_a_hub(source, spec.path, spec.revision, settings)
    return found, found.endswith(_HERE)


def hubs(
    models: Iterable[ModelSpec],
    conversations: Iterable[CalibrationSpec],
    rows_from: Iterable[DatasetSpec],
) -> set[Source]:
    """Return the hubs that will be asked."""
    named: list[str] = [one.source for one in models] + [one.source for one in conversations]
    named += [rows.source for rows in rows_from]
    sources: tuple[Source, ...] = ("modelscope", "huggingface")
    return {source for source in sources if source in named}


def _on_a_hub(source: Source, id: str, revision: str | None, settings: Settings) -> str:
    repository = Repository(source, "dataset", id)
    what = resolve(
        repository, revision, settings.datasets, timeout=SECONDS, attempts=1, progress=Silent()
    )
    if what.listing is None or what.folder.is_dir():
        return f"{id}@{what.commit[:12]} {_HERE}"
    _check_access(repository, what.listing)
    size = sum(file.size for file in what.listing.files)
    return f"{id}@{what.commit[:12]} on {source}, {size / _MEGABYTE:.1f} MB"


def _as_the_task_says(dataset: str, revision: str) -> Finding | str:
    """Check rows that `datasets` itself will fetch from Hugging Face."""
    hub = connect("huggingface")
    repository = Repository("huggingface", "dataset", dataset)
    cached = _cached(dataset)
    if dataset in _GATED and not cached and not _token():
        raise GatedRepository(
            f"{dataset} is gated on huggingface, and there is no token to ask with.",
            cause="HF_TOKEN is not set, and there is no stored login.",
            remedy=f"Ask for access on {site(hub)}/datasets/{dataset}, then set HF_TOKEN to a "
            "token of yours.",
        )
    try:
        listing = ask(hub, repository, revision, timeout=SECONDS, attempts=1)
        _check_access(repository, listing)
    except (HubUnreachable, GatedRepository) as error:
        if cached:
            return note("rows", f"from {cached}; {error.fact}{NOT_NAMED}")
        raise
    size = sum(file.size for file in listing.files)
    return f"{listing.commit[:12]} on huggingface, {size / _MEGABYTE:.1f} MB{NOT_NAMED}"


def _check_access(repository: Repository, listing: Listing) -> None:
    """Ask for the head of one data file: the list of files is public where they are not."""
    data = (
        file.name for file in listing.files if not file.name.endswith((".md", ".gitattributes"))
    )
    if name := next(data, None):
        connect(repository.source).check_access(repository, listing, name, timeout=SECONDS)


def _token() -> str | None:
    from huggingface_hub import get_token

    token: str | None = get_token()
    return token


def _cached(dataset: str) -> Path | None:
    """Return where `datasets` keeps rows that it fetched earlier; it spells names its own way."""
    from huggingface_hub import constants

    home = Path(constants.HF_HOME)
    places = [Path(os.environ.get("HF_DATASETS_CACHE", home / "datasets")), constants.HF_HUB_CACHE]
    wanted = {_plain(dataset), _plain(f"datasets/{dataset}")}
    for place in map(Path, places):
        for found in sorted(place.iterdir()) if place.is_dir() else ():
            if found.is_dir() and _plain(found.name) in wanted:
                return found
    return None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
