from __future__ import annotations

from infra.contracts.progress import Silent
from infra.contracts.records import Weights
from infra.models.file_digests import hash_files


def require_whole(weights: Weights) -> None:
    """Check that a folder holds what a record of weights says, to the last byte."""
    found = hash_files(weights.path, [file.name for file in weights.files], Silent())
    assert {name: sha256 for name, (sha256, _) in found.items()} == {
        file.name: file.sha256 for file in weights.files
    }
