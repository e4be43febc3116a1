from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.contracts.records import Checkpoint, PythonEnvironment, Weights
from infra.contracts.specs import (
    AwqSpec,
    CalibrationSpec,
    EvaluationSpec,
    ModelSpec,
    RunSpec,
    TaskSpec,
)
from infra.models.weights import inspect_local
from infra.quantizers.awq import Awq
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tests.broken_checkpoints import SAMPLE
from tests.conftest import MOMENT, PrintProgress

CONVERSATIONS = SAMPLE.parent / "data" / "calibration.jsonl"


CANDIDATE = "awq-4bit-g128"
"""Name of the candidate of `make_spec`."""


def make_spec(conversations: Path = CONVERSATIONS, **triage: Any) -> RunSpec:
    """A run on the sample model, its calibration small enough for a test."""
    calibration = CalibrationSpec(
        path=str(conversations), max_samples=8, min_samples=4, max_sequence_length=256
    )
    return RunSpec.short(
        model=ModelSpec(source="local", id=str(SAMPLE)),
        quantization=AwqSpec(calibration=calibration),
        evaluation=EvaluationSpec.model_validate(
            {"tasks": [TaskSpec(name="gsm8k").model_dump()], "triage": triage}
        ),
    )


@pytest.fixture(scope="session")
def weights() -> Weights:
    return inspect_local(SAMPLE, settings=Settings())


@pytest.fixture(scope="session")
def checkpoint(
    weights: Weights,
    quantizer_environment: PythonEnvironment,
    tmp_path_factory: pytest.TempPathFactory,
) -> Checkpoint:
    """A checkpoint of the sample model by the real AutoAWQ, made once into the user's cache."""
    recipe = make_spec().arms[CANDIDATE].quantization
    assert recipe is not None
    made, _ = Awq().make(
        weights,
        recipe,
        moment=MOMENT,
        template_variables={},
        environment=quantizer_environment,
        settings=Settings(),
        progress=PrintProgress(),
        log=tmp_path_factory.mktemp("quantize") / "quantize.log",
    )
    return made


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(id="test", path=tmp_path / "run")
