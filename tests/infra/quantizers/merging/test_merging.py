"""What real peft adds to the sample model, against the sum taken here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from infra.contracts.errors import UnsupportedModel
from infra.contracts.progress import Silent
from infra.contracts.records import Checkpoint, PythonEnvironment, Quantization
from infra.contracts.specs import AdapterSpec
from infra.models import lora
from infra.models.weights import inspect_local
from infra.quantizers import quantizer_of
from infra.quantizers.merging import Merge, recipe_of
from infra.store.settings import Settings
from tests.conftest import MOMENT

SAMPLE = Path(__file__).parents[4] / "infra" / "sample"


def merged(cache: Path, environment: PythonEnvironment) -> tuple[Checkpoint, bool]:
    settings = Settings(cache=cache)
    weights = inspect_local(SAMPLE / "model", settings=settings)
    spec = AdapterSpec(id=str(SAMPLE / "adapter"), merge=True)
    adapter = lora.fetch(spec, settings=settings, progress=Silent())
    recipe = recipe_of(adapter, weights)
    return quantizer_of(recipe).make(
        weights, recipe, environment=environment, moment=MOMENT, template_variables={},
        settings=settings, progress=Silent(), log=cache / "merge.log", trust_remote_code=False,
    )  # fmt: skip


@pytest.mark.engine
def test_the_sum_is_that_of_the_formula_and_the_same_bytes_each_time(
    tmp_path: Path, llmcompressor_environment: PythonEnvironment
) -> None:
    found, reused = merged(tmp_path / "one", llmcompressor_environment)
    again, _ = merged(tmp_path / "two", llmcompressor_environment)
    assert not reused
    assert found.digest == again.digest
    assert found.made is not None
    assert found.made.recipe.method == "merge"
    assert found.quantization_config is None
    written = json.loads((found.path / "config.json").read_text())
    assert written == json.loads((SAMPLE / "model" / "config.json").read_text())

    original = load_file(SAMPLE / "model" / "model.safetensors")
    result = load_file(found.path / "model.safetensors")
    pairs = load_file(SAMPLE / "adapter" / lora.WEIGHTS)
    settings = json.loads((SAMPLE / "adapter" / "adapter_config.json").read_text())
    scale = settings["lora_alpha"] / settings["r"]
    assert result.keys() == original.keys()
    changed = 0
    for name, before in original.items():
        layer = f"base_model.model.{name.removesuffix('.weight')}"
        wanted = before.astype(np.float32)
        if (down := pairs.get(f"{layer}.lora_A.weight")) is not None:
            wanted = wanted + scale * (pairs[f"{layer}.lora_B.weight"] @ down)
            changed += 1
        # Float16 has eleven bits: half a step of the largest number, and the order of the sum.
        assert (
            np.abs(result[name].astype(np.float32) - wanted).max() <= 2**-10 * np.abs(wanted).max()
        )
    assert changed == 7 * 6


def test_nothing_is_merged_into_numbers_of_few_bits() -> None:
    quantized = Quantization(method="gptq", understood=True)
    with pytest.raises(UnsupportedModel, match="it is quantized"):
        Merge().check_named("a model", None, quantized)
