from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import UnsupportedModel
from infra.contracts.records import PythonEnvironment, Weights
from infra.contracts.specs import AwqSpec, CalibrationSpec
from infra.models.weights import inspect_local
from infra.quantizers.awq.limits import IMAGE_MODELS, TEXT_MODELS, check_model
from infra.store.settings import Settings
from tests import tiny_model


def weights(tmp_path: Path, **fields: Any) -> Weights:
    folder = tiny_model.write(tmp_path / "model", **fields)
    return inspect_local(folder, settings=Settings(cache=tmp_path))


def recipe(group_size: int = 128) -> AwqSpec:
    return AwqSpec(calibration=CalibrationSpec(path="c.jsonl"), group_size=group_size)


def test_a_model_that_fits_passes(tmp_path: Path) -> None:
    check_model(weights(tmp_path), recipe())


@pytest.mark.parametrize(
    ("fields", "group_size", "layer", "fitting"),
    [
        ({"intermediate": 320}, 128, "model.layers.0.mlp.down_proj.weight", [64, 32]),
        ({"hidden": 192}, 128, "model.layers.0.mlp.gate_proj.weight", [64, 32]),
        ({"intermediate": 336}, 32, "model.layers.0.mlp.down_proj.weight", []),
    ],
)
def test_a_group_size_that_divides_no_layer_names_one_that_does(
    tmp_path: Path, fields: dict[str, int], group_size: int, layer: str, fitting: list[int]
) -> None:
    with pytest.raises(UnsupportedModel) as caught:
        check_model(weights(tmp_path, **fields), recipe(group_size))
    assert layer in caught.value.fact
    assert ("64 or 32" in caught.value.remedy) is bool(fitting)
    if fitting:
        check_model(weights(tmp_path, **fields), recipe(fitting[0]))


def test_outputs_that_autoawq_asserts_on_are_refused(tmp_path: Path) -> None:
    odd = weights(tmp_path, intermediate=352)  # 11 groups of 32, but not a multiple of 64
    with pytest.raises(UnsupportedModel, match="has 352 outputs, no multiple of 64"):
        check_model(odd, recipe(32))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"model_type": "mamba2"}, "model_type is 'mamba2'"),
        ({"model_type": "qwen2_5_vl"}, "reads images too"),
        ({"quantization_config": {"quant_method": "gptq"}}, r"quantized already \(gptq\)"),
    ],
)
def test_a_kind_that_autoawq_does_not_know_is_refused(
    tmp_path: Path, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(UnsupportedModel, match=says) as caught:
        check_model(weights(tmp_path, **fields), recipe())
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("quantize_config.json", {"bits": 4, "group_size": 128, "desc_act": False}, "gptq"),
        ("hf_quant_config.json", {"quantization": {"quant_algo": "FP8"}}, "modelopt"),
        ("config.json", {"text_config": {"quantization_config": {"quant_method": "fp8"}}}, "fp8"),
        ("config.json", {"compression_config": {"quant_method": "sparseml"}}, "sparseml"),
    ],
)
def test_whichever_file_says_that_it_is_quantized_is_believed(
    tmp_path: Path, file: str, content: dict[str, Any], says: str
) -> None:
    model = weights(tmp_path)
    check_model(model, recipe())
    path = model.path / file
    written = json.loads(path.read_text()) if path.exists() else {}
    path.unlink(missing_ok=True)
    path.write_text(json.dumps(written | content))
    with pytest.raises(UnsupportedModel, match=rf"quantized already \({says}\)") as caught:
        check_model(model, recipe())
    assert caught.value.cause.startswith(file)


@pytest.mark.engine
def test_the_list_of_kinds_is_autoawqs_own(quantizer_environment: PythonEnvironment) -> None:
    """Read from its source: importing it takes seconds."""
    script = "import importlib.util as u; print(u.find_spec('awq').submodule_search_locations[0])"
    answer = subprocess.run(
        [quantizer_environment.python, "-I", "-c", script],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    tree = ast.parse((Path(answer.stdout.strip()) / "models" / "auto.py").read_text())
    kinds = next(
        {key.value for key in node.value.keys if isinstance(key, ast.Constant)}
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
    )
    assert kinds == TEXT_MODELS | IMAGE_MODELS
