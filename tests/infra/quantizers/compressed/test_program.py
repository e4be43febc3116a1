from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra import ENVIRONMENT
from infra.contracts.errors import QuantizationError
from infra.contracts.progress import Silent
from infra.contracts.records import PythonEnvironment, Weights
from infra.contracts.specs import CalibrationSpec, CompressedSpec, GptqSpec, SchemeOverride
from infra.conversations import calibration
from infra.conversations.calibration import Calibration
from infra.machine.device import Device
from infra.models.weights import inspect_local
from infra.quantizers.compressed import CompressedTensors, Gptq
from infra.quantizers.worker import Response, Seen
from infra.store.settings import Settings
from tests import tiny_model
from tests.conftest import MOMENT

CPU = Device(kind="cpu", name="a processor", count=1, memory_bytes=1)
GPU = Device(kind="cuda", name="H100", count=1, memory_bytes=1)
HERE = PythonEnvironment(name="llmcompressor", python=Path("python"), digest="x", provided=True)


def weights(folder: Path, **fields: Any) -> Weights:
    model = tiny_model.write(folder / "model", **fields)
    return inspect_local(model, settings=Settings(cache=folder))


@pytest.fixture
def samples(tmp_path: Path) -> Calibration:
    talks = tiny_model.write_conversations(tmp_path / "c.jsonl", [40] * 6)
    spec = CalibrationSpec(path=str(talks), min_samples=4, max_sequence_length=64)
    return calibration.prepare(
        weights(tmp_path).path, spec, moment=MOMENT, variables={},
        settings=Settings(cache=tmp_path), progress=Silent(),
    )  # fmt: skip


def test_sixteen_bits_are_the_models_own(tmp_path: Path) -> None:
    """Float16 cannot hold every number that bfloat16 can."""
    for stored, saved in (
        ("bfloat16", "bfloat16"), ("float16", "float16"), ("float32", "float16")
    ):  # fmt: skip
        model = weights(tmp_path, dtype=stored)
        assert Gptq().saved_dtype(model) == saved
        assert Gptq().search_dtype(model, GPU, {"torch": "2.13.0"}) == saved
        assert Gptq().search_dtype(model, GPU, {"torch": "2.13.0+cpu"}) == "float32"
        assert Gptq().search_dtype(model, CPU, {"torch": "2.13.0"}) == "float32"
    config = json.loads((model.path / "config.json").read_text())
    (model.path / "config.json").unlink()
    config["torch_dtype"] = config.pop("dtype").replace("float32", "bfloat16")
    (model.path / "config.json").write_text(json.dumps(config))
    assert Gptq().saved_dtype(model) == "bfloat16"


def test_all_that_decides_a_checkpoint_is_in_its_key(
    tmp_path: Path, samples: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, talks = weights(tmp_path), samples.card.spec
    versions = {"torch": "2", "llmcompressor": "0.14.0.1"}

    def key(recipe: GptqSpec | CompressedSpec, calibrated: Calibration | None = samples) -> str:
        method: Any = Gptq() if isinstance(recipe, GptqSpec) else CompressedTensors()
        return str(method.key(model, recipe, calibrated, HERE, versions, CPU, "float32"))

    override = SchemeOverride(targets=("re:.*down_proj",), scheme="fp8-dynamic")
    recipes = [
        GptqSpec(calibration=talks),
        GptqSpec(calibration=talks, bits=8),
        GptqSpec(calibration=talks, group_size=64),
        GptqSpec(calibration=talks, act_order=False),
        GptqSpec(calibration=talks, ignore=("lm_head", "re:.*layers.0")),
        CompressedSpec(calibration=talks),
        CompressedSpec(calibration=talks, algorithm="awq"),
        CompressedSpec(calibration=talks, zero_point=True),
        CompressedSpec(calibration=talks, overrides=(override,)),
        CompressedSpec(calibration=talks, kv_cache="fp8"),
        CompressedSpec(calibration=talks, scheme="w8a8-int8"),
        CompressedSpec(calibration=talks, scheme="w8a8-int8", smoothing=0.5),
        CompressedSpec(calibration=talks, scheme="fp8-static"),
    ]
    keys = [key(recipe) for recipe in recipes]
    assert len(set(keys)) == len(recipes)
    assert [key(recipe) for recipe in recipes] == keys
    fp8 = CompressedSpec(scheme="fp8-dynamic")
    assert key(fp8, None) not in keys
    assert key(recipes[0], None) != keys[0]
    versions["llmcompressor"] = "0.15"
    assert key(recipes[0]) != keys[0]
    versions["llmcompressor"] = "0.14.0.1"
    monkeypatch.setitem(ENVIRONMENT, "OMP_NUM_THREADS", "1")
    assert key(fp8, None) != key(recipes[0])
    assert key(recipes[0]) != keys[0]


def response(**fields: Any) -> Response:
    return Response(
        version=1, ok=True, quantization_config={}, versions={}, seconds=1, peak_memory_bytes=1,
        **{"search_dtype": "float32", "calibration": None, "device": None, **fields},
    )  # fmt: skip


def test_a_conversation_that_was_not_read_whole_is_noticed(samples: Calibration) -> None:
    read = Seen(blocks=samples.card.used, tokens=samples.card.tokens_total)
    Gptq().check_response(response(calibration=read), samples, "float32")
    CompressedTensors().check_response(response(), None, "float32")
    less = read.model_copy(update={"tokens": read.tokens - 1})
    for wrong in (less, read.model_copy(update={"blocks": 3}), None):
        with pytest.raises(QuantizationError, match="Of 6 conversations of 288 tokens"):
            Gptq().check_response(response(calibration=wrong), samples, "float32")
    with pytest.raises(QuantizationError, match="Of no conversations llm-compressor read 6"):
        CompressedTensors().check_response(response(calibration=read), None, "float32")


def test_another_type_than_the_key_says_is_noticed(samples: Calibration) -> None:
    read = Seen(blocks=samples.card.used, tokens=samples.card.tokens_total)
    with pytest.raises(QuantizationError, match="computed in bfloat16") as caught:
        Gptq().check_response(
            response(calibration=read, search_dtype="bfloat16", device="H100"), samples, "float32"
        )
    assert "ASSAY_LLMCOMPRESSOR_PYTHON" in caught.value.remedy
