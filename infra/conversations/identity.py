"""What identifies a calibration set as a whole: to find out later whether it is still the same."""

from __future__ import annotations

from pathlib import Path

from infra.contracts.errors import AssayError
from infra.contracts.progress import Silent
from infra.contracts.specs import CalibrationSpec
from infra.models.hubs.hub import COMMIT, Repository
from infra.models.hubs.revisions import resolve
from infra.store.content import digest_file
from infra.store.settings import Settings

_SECONDS = 5.0


def identity(spec: CalibrationSpec, settings: Settings) -> str | None:
    """Return the SHA-256 of a file, or the commit of a dataset on a hub; none if it is unknown."""
    if spec.source == "file":
        try:
            return digest_file(Path(spec.path).expanduser()).sha256
        except OSError:
            return None
    if spec.revision and COMMIT.fullmatch(spec.revision):
        return spec.revision
    try:
        return resolve(
            Repository(spec.source, "dataset", spec.path),
            spec.revision, settings.datasets, timeout=_SECONDS, attempts=1, progress=Silent(),
        ).commit  # fmt: skip
    except AssayError:
        return None
