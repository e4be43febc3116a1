"""Runs that earlier versions made and sealed, kept as they were.

`version-1` has neither margin nor receipt. `version-2` has a margin that was widened and a task
whose written letters were taken to be beyond guessing; its verdict is a PASS. `version-3` has every
record that a run may have: a widened margin, noise floor, fidelity, lengths, timings, triage,
overlap, alert. `version-3-stopped` was stopped early, and tells the rows that both arms answered.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

from infra.report.receipt.sealing import Document, row_digests, seal_over, value_digests

_ARCHIVES = Path(__file__).parent / "earlier_runs"


def unpacked(version: int | str, folder: Path) -> Path:
    """Return the folder of a run of an earlier version (`2`, `3-stopped`), below a folder."""
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
