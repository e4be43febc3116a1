"""Weights that an engine does not read are refused before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import Unservable
from infra.contracts.progress import Silent
from infra.contracts.specs import ArmSpec, AwqSpec, ModelSpec
from infra.preflight import model
from infra.preflight.findings import problems
from infra.preflight.model import _check_layout
from infra.store.settings import Settings
from tests.broken_checkpoints import SAMPLE

AWQ = AwqSpec.model_validate({"calibration": {"path": "calibration.jsonl"}})


def arm(folder: Path, engine: str, **fields: Any) -> ArmSpec:
    return ArmSpec.model_validate(
        {
            "model": ModelSpec(source="local", id=str(folder)),
            "serving": {"engine": engine},
            **fields,
        }
    )


def refusals(arm: ArmSpec, cache: Path) -> list[str]:
    found = model.here(arm, Settings(cache=cache), Silent())
    return [str(one) for one in problems(found.findings)]


def test_each_engine_reads_its_own_layout(gguf: Path, tmp_path: Path) -> None:
    assert refusals(arm(SAMPLE, "vllm"), tmp_path) == []
    assert refusals(arm(gguf, "llamacpp"), tmp_path) == []


def test_a_gguf_file_is_not_for_vllm(gguf: Path, tmp_path: Path) -> None:
    [said] = refusals(arm(gguf, "vllm"), tmp_path)
    assert "vLLM cannot read the weights of" in said
    assert "Set serving.engine to 'llamacpp'." in said


def test_other_weights_are_not_for_llama_cpp(tmp_path: Path) -> None:
    [said] = refusals(arm(SAMPLE, "llamacpp"), tmp_path)
    assert "llama.cpp cannot read the weights of" in said
    assert "Set serving.engine to 'vllm', or quantization.method to gguf." in said


def test_what_will_be_made_counts_and_not_what_it_is_made_of(gguf: Path) -> None:
    with pytest.raises(Unservable, match="cannot read what is made of"):
        _check_layout(arm(SAMPLE, "llamacpp", quantization=AWQ), SAMPLE)
    with pytest.raises(Unservable, match="cannot read what is made of"):
        _check_layout(arm(SAMPLE, "vllm", quantization={"method": "gguf"}), SAMPLE)
    _check_layout(arm(SAMPLE, "llamacpp", quantization={"method": "gguf"}), SAMPLE)


def test_of_a_model_that_is_not_here_nobody_knows_it() -> None:
    _check_layout(arm(SAMPLE, "llamacpp"), None)
