"""A finished run with its receipt, and the folders of both its checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from infra.contracts.records import Checkpoint, Report
from infra.report.receipt import sealed
from infra.store.content import digest_files, digest_folder
from tests.infra.made_runs import make_run


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "sample-1"
    folder.mkdir()
    seal(with_checkpoints(make_run(folder, rows=60, with_gaps=True), folder), folder)
    return folder


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may change."""
    return Path(shutil.copytree(original, tmp_path / "sample-1"))


def seal(report: Report, folder: Path) -> Report:
    (folder / "spec.json").write_text(report.spec.model_dump_json(indent=2))
    (folder / "report.html").write_text(f"<h1>{report.verdict.headline}</h1>")
    report = sealed(report, folder)
    (folder / "report.json").write_text(report.model_dump_json(indent=2) + "\n")
    return report


def with_checkpoints(report: Report, folder: Path) -> Report:
    """Give both arms a folder with two files, and the run's folder the lists of these."""
    arms = {
        arm: result.model_copy(update={"checkpoint": _checkpoint(report, arm, folder)})
        for arm, result in report.arms.items()
    }
    return report.model_copy(update={"arms": arms})


def _checkpoint(report: Report, arm: str, folder: Path) -> object:
    there = folder.parent / f"{arm}-checkpoint"
    there.mkdir()
    (there / "config.json").write_text("{}")
    (there / "model.safetensors").write_bytes(arm.encode() * 100)
    files = digest_folder(there)
    found = report.arms[arm].checkpoint.model_copy(
        update={"path": there, "digest": digest_files(files)}
    )
    record = Checkpoint(
        path=there, files=files, digest=found.digest, size_bytes=found.size_bytes, source="local",
        model="model", revision=None, quantization_config=None,
    )  # fmt: skip
    (folder / f"checkpoint-{arm}.json").write_text(record.model_dump_json())
    return found
