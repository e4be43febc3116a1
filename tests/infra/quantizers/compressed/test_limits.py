from __future__ import annotations

import ast
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.contracts.errors import AssayError, Unservable, UnsupportedModel
from infra.contracts.records import PythonEnvironment, Weights
from infra.contracts.specs import (
    CalibrationSpec,
    CompressedSpec,
    GptqSpec,
    SchemeOverride,
    ServingSpec,
)
from infra.models.memory_need import Shape, from_config
from infra.models.weights import inspect_local
from infra.quantizers import quantizer_of
from infra.quantizers.compressed.limits import SMOOTHED, check_model, check_served
from infra.store.settings import Settings
from tests import tiny_model

TALKS = CalibrationSpec(path="c.jsonl")
GPTQ = GptqSpec(calibration=TALKS)
FP8 = CompressedSpec(scheme="fp8-dynamic")
INT8 = CompressedSpec(scheme="w8a8-int8", calibration=TALKS)
AWQ = CompressedSpec(algorithm="awq", calibration=TALKS)


def weights(tmp_path: Path, **fields: Any) -> Weights:
    folder = tiny_model.write(tmp_path / "model", **fields)
    return inspect_local(folder, settings=Settings(cache=tmp_path))


def gptq(**fields: Any) -> GptqSpec:
    return GptqSpec(calibration=TALKS, **fields)


def mixed(*targets: str, scheme: Any = "fp8-dynamic") -> CompressedSpec:
    override = SchemeOverride(targets=targets, scheme=scheme)
    return CompressedSpec(calibration=TALKS, overrides=(override,))


@pytest.mark.parametrize(
    "recipe",
    [
        GPTQ, gptq(bits=8, group_size=32), gptq(group_size=-1), FP8, INT8, AWQ,
        gptq(ignore=("lm_head", "re:.*layers.0", "model.layers.1.mlp.down_proj")),
        mixed("re:.*down_proj"),
        mixed("re:.*[qkv]_proj", "re:.*o_proj"),
    ],
)  # fmt: skip
def test_a_model_that_fits_passes(tmp_path: Path, recipe: GptqSpec | CompressedSpec) -> None:
    quantizer_of(recipe).check(weights(tmp_path), recipe)


BAD: list[tuple[str, dict[str, Any], GptqSpec | CompressedSpec, str]] = [
    ("quantized already", {"quantization_config": {"quant_method": "awq"}}, FP8,
     r"quantized already \(awq\)"),
    ("reads images", {"vision_config": {}}, GPTQ, "reads more than text"),
    ("reads sound", {"audio_config": {}}, FP8, "reads more than text"),
    ("has an encoder", {"is_encoder_decoder": True}, FP8, "has an encoder"),
    ("has experts", {"num_local_experts": 8}, GPTQ, "has 8 experts"),
    ("has experts, called otherwise", {"n_routed_experts": 64}, INT8, "has 64 experts"),
    ("has no linear layers", {"model_type": "gpt2"}, GPTQ, "finds no linear layers"),
    ("group size that divides nothing", {"hidden": 192}, GPTQ,
     "group_size=128 does not divide the 192 inputs of model.layers.0.mlp.gate_proj"),
    ("group size that divides not all", {"intermediate": 320}, AWQ,
     "group_size=128 does not divide the 320 inputs"),
    ("pattern that means nothing", {}, gptq(ignore=("lm_head", "re:.*experts")),
     "'re:.*experts' in quantization.ignore means no layer"),
    ("name of a block", {}, gptq(ignore=("lm_head", "model.layers.0")),
     "'model.layers.0' in quantization.ignore means no layer"),
    ("override that means nothing", {}, mixed("down_proj"),
     "'down_proj' in quantization.overrides means no layer"),
    ("nothing left", {}, gptq(ignore=("lm_head", "re:.*proj")), "leaves all 14 layers"),
    ("head that is quantized", {}, gptq(ignore=()), "quantizes the head"),
    ("joined layers ignored in part", {}, gptq(ignore=("lm_head", "re:.*k_proj")),
     "k_proj is left as it is and v_proj gets gptq"),
    ("joined layers in two schemes", {}, mixed("re:.*up_proj"),
     "gate_proj gets w4a16 and up_proj gets fp8-dynamic"),
    ("SmoothQuant on an unknown structure", {"architectures": ["Gemma2ForCausalLM"]}, INT8,
     "what SmoothQuant may change"),
    ("AWQ on an unknown structure", {"architectures": ["OPTForCausalLM"]}, AWQ,
     "what AWQ may change"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "recipe", "says"), [case[1:] for case in BAD],
                         ids=[case[0] for case in BAD])  # fmt: skip
def test_a_model_that_does_not_fit_is_refused_before_anything_starts(
    tmp_path: Path, fields: dict[str, Any], recipe: GptqSpec | CompressedSpec, says: str
) -> None:
    with pytest.raises(UnsupportedModel, match=says) as caught:
        check_model(weights(tmp_path, **fields), recipe)
    assert caught.value.cause or "ignore" in caught.value.fact
    assert caught.value.remedy


def test_the_group_size_that_a_remedy_names_fits(tmp_path: Path) -> None:
    model = weights(tmp_path, intermediate=320)
    with pytest.raises(UnsupportedModel) as caught:
        check_model(model, GPTQ)
    assert "64 or 32" in caught.value.remedy
    check_model(model, gptq(group_size=64))
    check_model(model, gptq(group_size=-1))
    # A layer that is left may be of any size.
    check_model(model, gptq(ignore=("lm_head", "re:.*down_proj")))
    odd = weights(tmp_path, intermediate=336)
    with pytest.raises(UnsupportedModel, match="does not divide the 336") as caught:
        check_model(odd, gptq(group_size=32))
    assert "without groups" in caught.value.remedy


def test_a_head_of_its_own_has_to_be_ignored_by_its_name(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    model = weights(tmp_path)
    file = model.path / "model.safetensors"
    tensors = load_file(file) | {"embed_out.weight": np.ones((264, 128), np.float16)}
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(UnsupportedModel, match=r"quantizes the head of .*, embed_out"):
        check_model(model, GPTQ)
    check_model(model, gptq(ignore=("embed_out",)))


def a_shape(**fields: Any) -> Shape:
    config = {
        "num_attention_heads": 8, "hidden_size": 1024, "intermediate_size": 2816,
        "num_hidden_layers": 4, "vocab_size": 1000,
    }  # fmt: skip
    found = from_config(config | fields, 10**8)
    assert found
    return found


UNSERVABLE: list[tuple[GptqSpec | CompressedSpec, dict[str, Any], dict[str, Any], str]] = [
    (gptq(bits=8), {}, {}, "gptq-8bit-g128 cannot be served on a CPU"),
    (CompressedSpec(scheme="fp8-static", calibration=TALKS), {}, {}, "fp8-static cannot be served"),
    (mixed("re:.*down_proj", scheme="fp8-static"), {}, {}, "cannot be served on a CPU"),
    (FP8, {"engine": "llamacpp"}, {}, "fp8-dynamic cannot be served by serving.engine=llamacpp"),
    (GPTQ, {"dtype": "float32"}, {}, "float32 cannot serve gptq-4bit-g128"),
    (AWQ, {"dtype": "float32"}, {}, "float32 cannot serve"),
    (FP8, {"dtype": "float32", "device": "cuda"}, {}, "float32 cannot serve"),
    (GPTQ, {}, {"intermediate_size": 2832}, "2832 inner numbers cannot be served on a CPU"),
    (AWQ, {}, {"hidden_size": 1008}, "1008 hidden numbers"),
    (GPTQ, {"device": "cuda", "tensor_parallel_size": 4}, {}, "cannot be shared"),
    (AWQ, {"device": "cuda", "tensor_parallel_size": 8}, {}, "cannot be shared"),
]


@pytest.mark.parametrize(("recipe", "serving", "config", "says"), UNSERVABLE)
def test_what_the_engine_cannot_serve_is_refused_before_it_is_made(
    recipe: GptqSpec | CompressedSpec, serving: dict[str, Any], config: dict[str, Any], says: str
) -> None:
    settings = ServingSpec(**{"device": "cpu", **serving})
    with pytest.raises(Unservable, match=says) as caught:
        check_served(recipe, settings, a_shape(**config))
    assert caught.value.cause
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("recipe", "serving"),
    [
        (GPTQ, {"device": "cpu"}),
        (AWQ, {"device": "cpu", "dtype": "bfloat16"}),
        (INT8, {"device": "cpu", "dtype": "float32"}),
        (FP8, {"device": "cpu", "dtype": "float32"}),
        (gptq(bits=8), {"device": "cuda"}),
        (CompressedSpec(scheme="fp8-static", calibration=TALKS), {"device": "cuda"}),
        (GPTQ, {"device": "cuda", "tensor_parallel_size": 2}),
        (FP8, {"device": "cuda", "tensor_parallel_size": 4}),
    ],
)
def test_what_the_engine_serves_passes(
    recipe: GptqSpec | CompressedSpec, serving: dict[str, Any]
) -> None:
    check_served(recipe, ServingSpec(**serving), a_shape())
    check_served(recipe, ServingSpec(**serving), None)


def test_a_smaller_group_that_a_remedy_names_can_be_shared() -> None:
    four = ServingSpec(device="cuda", tensor_parallel_size=4)
    with pytest.raises(Unservable) as caught:
        check_served(GPTQ, four, a_shape())
    assert "group_size to 64" in caught.value.remedy
    check_served(gptq(group_size=64), four, a_shape())


def test_a_hub_is_enough_to_refuse_a_kind() -> None:
    check: Callable[..., None] = quantizer_of(FP8).check_named
    check("some/model", None, None)
    with pytest.raises(AssayError, match=r"quantized already, as its name says \(AWQ\)"):
        check("some/model-7B-AWQ", None, None)
    check("some/model", {"model_type": "llama"}, None)
    with pytest.raises(AssayError, match="has 8 experts"):
        check("some/model", {"model_type": "mixtral", "num_local_experts": 8}, None)


def _registry(file: Path, name: str) -> dict[str, str]:
    """Return a dictionary of a module, with the names of its values."""
    for node in ast.walk(ast.parse(file.read_text())):
        target = node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(target, ast.Name) and target.id == name:
            assert isinstance(node, ast.AnnAssign)
            assert isinstance(node.value, ast.Dict)
            pairs = zip(node.value.keys, node.value.values, strict=True)
            return {
                str(key.value): value.id
                for key, value in pairs
                if isinstance(key, ast.Constant) and isinstance(value, ast.Name)
            }
    raise AssertionError(f"{file} has no {name}")


@pytest.mark.engine
def test_the_structures_that_are_smoothed_are_llm_compressors_own(
    llmcompressor_environment: PythonEnvironment,
) -> None:
    """Those that have the usual one in both methods. Read from its source: importing takes long."""
    script = "import importlib.util as u; print(u.find_spec('llmcompressor').origin)"
    answer = subprocess.run(
        [llmcompressor_environment.python, "-I", "-c", script],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    methods = Path(answer.stdout.strip()).parent / "modifiers" / "transform"
    awq = _registry(methods / "awq" / "mappings.py", "AWQ_MAPPING_REGISTRY")
    smooth = _registry(methods / "smoothquant" / "utils.py", "MAPPINGS_REGISTRY")
    both = {
        name
        for name in awq
        if (awq[name], smooth.get(name)) == ("default_mappings", "DEFAULT_SMOOTHQUANT_MAPPINGS")
    }
    assert {name for name in both if name.endswith("ForCausalLM")} == SMOOTHED
