"""Is the report about these weights? Looks into the folders of both checkpoints."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from infra.contracts.migration import FORMER_CANDIDATE
from infra.contracts.records import CheckpointSummary, FileDigest, Report
from infra.contracts.specs import BASELINE
from infra.report.receipt.checks import Checked, checked, counted
from infra.store.content import digest_file, digest_files

_EARLIER = {BASELINE: "weights.json", FORMER_CANDIDATE: "checkpoint.json"}
"""Arm → record of its checkpoint, in the folder of a run of an earlier version."""


class _Manifest(BaseModel):
    """What both kinds of records say of their files."""

    model_config = ConfigDict(extra="ignore")

    digest: str
    size_bytes: int
    files: tuple[FileDigest, ...]


def check_weights(report: Report, folder: Path, *, read: bool) -> Checked:
    """Return which files of the checkpoints are not those that were served.

    Args:
        report: The report.
        folder: The run's folder, which holds the lists of files.
        read: Compute the digest of every file; without it sizes are compared.
    """
    wrong: list[str] = []
    notes: list[str] = []
    looked_at = 0
    for arm, result in report.arms.items():
        path = folder / f"checkpoint-{arm}.json"
        earlier = folder / _EARLIER.get(arm, path.name)
        if not path.is_file() and earlier.is_file():
            path = earlier
        try:
            manifest = _Manifest.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError):
            notes.append(f"{arm}: {path.name}, which lists its files, is not there or not readable")
            continue
        wrong += _sums(arm, result.checkpoint, manifest, path.name)
        there = result.checkpoint.path
        if not there.is_dir():
            notes.append(f"{arm}: {there} is not on this machine (any more)")
            continue
        looked_at += len(manifest.files)
        wrong += [text for file in manifest.files if (text := _file(there, file, read=read))]
    how = "their digests" if read else "their sizes"
    if looked_at and not read:
        notes.append("only the sizes of the checkpoints' files were compared; --weights reads them")
    return checked("checkpoints", f"{counted(looked_at, 'file')}, {how}", wrong, notes)


def _sums(arm: str, checkpoint: CheckpointSummary, manifest: _Manifest, name: str) -> list[str]:
    where = f"arms.{arm}.checkpoint"
    wrong = []
    if checkpoint.digest != digest_files(manifest.files):
        wrong.append(f"{where}.digest is not that of the files in {name}")
    if checkpoint.size_bytes != manifest.size_bytes:
        wrong.append(
            f"{where}.size_bytes is {checkpoint.size_bytes}, in {name} {manifest.size_bytes}"
        )
    return wrong


def _file(folder: Path, file: FileDigest, *, read: bool) -> str | None:
    path = folder / file.name
    if not path.is_file():
        return f"{path} is missing"
    if (size := path.stat().st_size) != file.size:
        return f"{path} has {size:,} bytes, {file.size:,} were recorded"
    if read and digest_file(path).sha256 != file.sha256:
        return f"{path} was changed: its SHA-256 is not the recorded one"
    return None
