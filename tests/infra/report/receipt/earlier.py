"""Runs that earlier versions made and sealed, kept as they were.

`version-2` has a margin that was widened and a task whose written letters were taken to be beyond
guessing; its verdict is a PASS. `version-1` has neither margin nor receipt.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

from infra.report.receipt.sealing import Document, row_digests, seal_over, value_digests

_ARCHIVES = Path(__file__).parent / "earlier_runs"


def unpacked(version: int, folder: Path) -> Path:
    """Return the folder of a run of an earlier version, below a folder."""
    with tarfile.open(_ARCHIVES / f"version-{version}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / f"sample-{version}"


def resealed(document: Document, folder: Path) -> Document:
    """Return a report's document with a receipt of its own, whatever its version."""
    receipt = dict(document.get("receipt") or {"files": []})
    receipt["rows"] = {
        path.relative_to(folder).as_posix(): "".join(row_digests(path))
        for path in sorted((folder / "samples").rglob("*.jsonl"))
    }
    document = {**document, "receipt": receipt}
    receipt["values"] = value_digests(document)
    receipt["seal"] = seal_over(document)
    return document
