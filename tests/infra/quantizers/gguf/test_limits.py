from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import CalibrationError, Unservable, UnsupportedModel
from infra.contracts.records import PythonEnvironment, Weights
from infra.contracts.specs import CalibrationSpec, GgufSpec, ServingSpec
from infra.models import quantization
from infra.models.memory_need import from_config
from infra.models.weights import inspect_local
from infra.quantizers.gguf import Gguf
from infra.quantizers.gguf.architectures import ARCHITECTURES
from infra.store.settings import Settings
from tests import tiny_model

METHOD = Gguf()


def weights(tmp_path: Path, **fields: Any) -> Weights:
    folder = tiny_model.write(tmp_path / "model", **fields)
    return inspect_local(folder, settings=Settings(cache=tmp_path))


def refused(found: Weights, recipe: GgufSpec) -> UnsupportedModel:
    with pytest.raises(UnsupportedModel) as caught:
        METHOD.check(found, recipe)
    assert caught.value.remedy
    return caught.value


def test_a_model_that_fits_passes(tmp_path: Path) -> None:
    found = weights(tmp_path)
    for kind in ("f32", "f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m"):
        METHOD.check(found, GgufSpec(type=kind))


def test_an_architecture_that_the_converter_does_not_know_is_refused(tmp_path: Path) -> None:
    found = weights(tmp_path, architectures=["OfTomorrowForCausalLM"])
    assert "OfTomorrowForCausalLM" in refused(found, GgufSpec()).fact
    config = json.loads((found.path / "config.json").read_text())
    with pytest.raises(UnsupportedModel, match="OfTomorrow"):
        METHOD.check_named("a/b", config, None)
    METHOD.check_named("a/b", None, None)


def test_a_quantized_model_is_refused(tmp_path: Path) -> None:
    config = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}
    found = weights(tmp_path, quantization_config=config)
    assert "quantized already (awq)" in refused(found, GgufSpec()).fact
    with pytest.raises(UnsupportedModel, match="quantized already"):
        METHOD.check_named("a/b", {}, quantization.of(found.path))


def test_rows_that_no_block_fits_are_refused_only_where_nothing_else_is_taken(
    tmp_path: Path,
) -> None:
    found = weights(tmp_path, intermediate=272)
    error = refused(found, GgufSpec(type="q8_0"))
    assert "272 inputs of model.layers.0.mlp.down_proj.weight" in error.fact
    assert "(2 layers like this)" in error.fact
    METHOD.check(found, GgufSpec(type="q4_k_m"))


def test_a_chat_template_is_needed_only_for_conversations(tmp_path: Path) -> None:
    found = weights(tmp_path)
    path = found.path / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["chat_template"]
    path.write_text(json.dumps(config))
    METHOD.check(found, GgufSpec())
    with pytest.raises(CalibrationError, match="no chat template"):
        METHOD.check(found, GgufSpec(importance=True, calibration=CalibrationSpec(path="c.jsonl")))


def test_only_llama_cpp_serves_it() -> None:
    with pytest.raises(Unservable, match="cannot serve a GGUF checkpoint") as caught:
        METHOD.check_served(GgufSpec(), ServingSpec(), None)
    assert "serving.engine to llamacpp" in caught.value.remedy


def test_memory_and_disk(tmp_path: Path) -> None:
    config = {
        "num_attention_heads": 28, "hidden_size": 3584, "num_hidden_layers": 28,
        "intermediate_size": 18944, "vocab_size": 152_064, "torch_dtype": "bfloat16",
    }  # fmt: skip
    shape = from_config(config, 15_200_000_000)
    assert shape is not None
    plain = METHOD.need(shape, GgufSpec(), gpu=True)
    calibration = CalibrationSpec(path="c.jsonl")
    weighed = METHOD.need(shape, GgufSpec(importance=True, calibration=calibration), gpu=True)
    assert plain.device == weighed.device == 0
    assert plain.host < 8e9
    assert weighed.host > 15.2e9
    shares = [METHOD.share(shape, GgufSpec(type=kind)) for kind in ("q3_k_m", "q4_k_m", "q8_0")]
    assert 1 < shares[0] < shares[1] < shares[2] < METHOD.share(shape, GgufSpec(type="f32"))


@pytest.mark.engine
def test_architectures_are_those_of_the_converter(gguf_environment: PythonEnvironment) -> None:
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); from converter import Converter; "
        "Converter(trust_remote_code=False); from conversion import TEXT_MODEL_MAP; "
        "print(json.dumps(sorted(TEXT_MODEL_MAP)))"
    )
    program = Path(Gguf.worker.script).with_name("program")
    found = subprocess.run(
        [gguf_environment.python, "-I", "-c", code, program],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(json.loads(found.stdout)) == ARCHITECTURES
