"""A finished run with its receipt, and the folders of both its checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from infra.contracts.records import Arm, QuantizedCheckpoint, Report, Weights
from infra.report.receipt import sealed
from infra.store.content import digest_files, digest_folder
from tests.infra.made_runs import make_run


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "sample-1"
    folder.mkdir()
    seal(with_checkpoints(make_run(folder, rows=60), folder), folder)
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


def _checkpoint(report: Report, arm: Arm, folder: Path) -> object:
    there = folder.parent / f"{arm}-checkpoint"
    there.mkdir()
    (there / "config.json").write_text("{}")
    (there / "model.safetensors").write_bytes(arm.encode() * 100)
    files = digest_folder(there)
    told = report.arms[arm].checkpoint.model_copy(
        update={"path": there, "digest": digest_files(files)}
    )
    common = {
        "path": there, "files": files, "digest": told.digest, "size_bytes": told.size_bytes
    }  # fmt: skip
    if arm == "base":
        record: Weights | QuantizedCheckpoint = Weights(
            source="local", id="model", revision=None, architecture="Qwen2ForCausalLM",
            **common,
        )  # fmt: skip
    else:
        record = QuantizedCheckpoint(
            base_digest=report.arms["base"].checkpoint.digest, recipe=report.spec.quantization,
            quantization_config={"bits": 4}, calibration=report.calibration, versions={},
            device="cpu", seconds=1.0, peak_memory_bytes=1, **common,
        )  # fmt: skip
    name = "weights.json" if arm == "base" else "checkpoint.json"
    (folder / name).write_text(record.model_dump_json())
    return told
