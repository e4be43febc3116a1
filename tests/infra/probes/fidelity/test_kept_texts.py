"""Which texts are read is remembered only as long as the choice would come out the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.contracts.progress import Silent
from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import (
    CalibrationSpec,
    FidelitySpec,
    ModelSpec,
    QuantizationSpec,
    RunSpec,
)
from infra.models.weights import inspect_local
from infra.probes.fidelity import ReadingProbe
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tests.broken_checkpoints import SAMPLE
from tests.infra.suite.harness.conftest import evaluation
from tests.stub_hub import Repo, running

SHARED = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
OTHER = "The capital of the country lies on a river that flows from there to the sea."


def conversations(text: str) -> Repo:
    row = {"messages": [{"role": "user", "content": text}]}
    return Repo({"train.jsonl": (json.dumps(row) + "\n").encode() * 20}, branch="main")


def test_a_calibration_set_whose_branch_moves_leaves_out_other_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "texts.txt").write_text(f"{SHARED}\n\n{OTHER}\n")
    settings = Settings(cache=tmp_path / "cache")
    spec = RunSpec(
        model=ModelSpec(source="local", id=str(SAMPLE)),
        quantization=QuantizationSpec(
            calibration=CalibrationSpec(source="huggingface", path="our/talks")
        ),
        evaluation=evaluation("gsm8k"),
        fidelity=FidelitySpec(texts=str(tmp_path / "texts.txt"), documents=4, max_tokens=48),
    )

    def count() -> int:
        probe = ReadingProbe(
            "baseline",
            inspect_local(SAMPLE, settings=settings),
            spec,
            environment=PythonEnvironment(
                name="none", python=Path("python"), digest="", provided=True
            ),
            conditions=["conditions"],
            run=RunFolder(id="run", path=tmp_path / "run"),
            settings=settings,
            progress=Silent(),
        )
        return len(probe._texts.tokens)

    with running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.repos["datasets/our/talks"] = conversations("something else altogether")
        assert count() == 2
        hub.repos["datasets/our/talks"] = conversations(f"Count: {SHARED}")
        assert count() == 1
