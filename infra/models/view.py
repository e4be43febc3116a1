"""A folder that holds a model's own files and nothing else, as links, where the real one has more.

The engine and the quantizer take a folder, not a list of files. Where other files in it would be
taken for the model's, they get a folder of links in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infra.contracts.errors import WeightsError
from infra.models.files import misleading
from infra.store.content import build_once, digest_of
from infra.store.settings import Settings


def view(folder: Path, names: Sequence[str], chosen: Sequence[str], settings: Settings) -> Path:
    """Return a folder in which a loader finds the chosen files alone.

    That is the folder itself unless it holds others that would mislead. A folder of links is named
    by what it links to; what stands there is checked by digests, as everywhere.

    Args:
        folder: Where the files are, absolute.
        names: All files there.
        chosen: Those that are the model.
        settings: Where views are kept.

    Raises:
        WeightsError: A view is needed and cannot be made.
    """
    if not misleading(names, chosen):
        return folder
    final = settings.weights.absolute() / "views" / digest_of([str(folder), sorted(chosen)])[:16]

    def link(partial: Path) -> None:
        for name in chosen:
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).symlink_to(folder / name)

    try:
        build_once(final, link)
    except OSError as error:
        raise WeightsError(
            f"{error.filename or final} cannot be written: {error.strerror or error}.",
            cause=f"{folder} holds files beside the model that the engine would load with it.",
            remedy="Set ASSAY_CACHE to a folder that you may write to, or put them aside.",
        ) from error
    return final
