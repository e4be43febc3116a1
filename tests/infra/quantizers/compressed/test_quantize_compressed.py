"""The script on its own, and the real llm-compressor once."""

from __future__ import annotations

import json
import runpy
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from infra.contracts.errors import QuantizationError, UnsupportedModel
from infra.contracts.progress import Silent
from infra.contracts.records import Checkpoint, PythonEnvironment, Weights
from infra.contracts.specs import CalibrationSpec, CompressedSpec, SchemeOverride
from infra.models import quantization, safetensors_header
from infra.models.weights import inspect_local
from infra.probes.triage import files
from infra.probes.triage.tensors import all_of, floats, tensors_of
from infra.quantizers.compressed import CompressedTensors
from infra.quantizers.compressed.groups import in_words
from infra.quantizers.compressed.program import WORKER
from infra.quantizers.program import exchange
from infra.quantizers.worker import Request
from infra.store.settings import Settings
from tests import tiny_model
from tests.conftest import MOMENT
from tests.infra.quantizers.test_making import Heard

HERE = PythonEnvironment(name="own", python=Path(sys.executable), digest="", provided=True)
LENGTHS = [40, 50, 33, 47, 38, 41]


def request(folder: Path, **quantization: Any) -> Request:
    folder.mkdir(exist_ok=True)
    words = in_words(CompressedSpec(scheme="fp8-dynamic"))
    return Request(
        model=tiny_model.write(folder / "model"), output=folder, safetensors=True,
        trust_remote_code=False, quantization=words | quantization, calibration=None,
    )  # fmt: skip


def ask(request: Request, environment: PythonEnvironment) -> None:
    WORKER.ask(
        request, model="the model", environment=environment, progress=Silent(),
        log=request.output / "log.txt",
    )  # fmt: skip


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(sys, "path", [*sys.path])  # to which it adds
    return runpy.run_path(str(WORKER.script))


def test_it_says_which_package_it_misses(tmp_path: Path) -> None:
    with pytest.raises(QuantizationError, match="No module named 'torch'") as caught:
        ask(request(tmp_path), HERE)
    assert "ASSAY_LLMCOMPRESSOR_PYTHON" in caught.value.remedy


def test_it_refuses_a_request_of_another_version(tmp_path: Path) -> None:
    wanted, answered = tmp_path / "request.json", tmp_path / "response.json"
    wanted.write_text(json.dumps({"version": 2}))
    done = subprocess.run(
        [sys.executable, "-I", "-u", WORKER.script, wanted, answered], check=False,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "request has version 2" in json.loads(answered.read_text())["error"]["message"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate"), "out-of-memory"),
        (ValueError("columns 336 not divisible by group size 128"), "group-size"),
        (ValueError("does not recognize this architecture"), "architecture"),
        (ValueError("Please pass the argument `trust_remote_code=True`"), "remote-code"),
    ],
)
def test_failures_of_its_own_have_a_kind(
    script: dict[str, Any], error: Exception, kind: str
) -> None:
    assert exchange.kind_of(error, script["KINDS"]) == kind


def test_a_pass_that_read_less_is_an_error(script: dict[str, Any]) -> None:
    seen = script["Seen"](None)
    assert seen.total(None) is None
    seen.passes = [{"blocks": 2, "tokens": 5}, {"blocks": 2, "tokens": 5}]
    assert seen.total([[1, 2], [3, 4, 5]]) == {"blocks": 2, "tokens": 5}
    seen.passes[1]["tokens"] = 4
    with pytest.raises(ValueError, match="a pass read"):
        seen.total([[1, 2], [3, 4, 5]])


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> CompressedSpec:
    """One recipe that uses most there is: GPTQ, two schemes, layers that are left, a cache."""
    talks = tiny_model.write_conversations(tmp_path_factory.mktemp("talks") / "c.jsonl", LENGTHS)
    calibration = CalibrationSpec(path=str(talks), min_samples=4, max_sequence_length=64)
    return CompressedSpec(
        calibration=calibration,
        overrides=(SchemeOverride(targets=("re:.*down_proj",), scheme="fp8-dynamic"),),
        ignore=("lm_head", r"re:.*layers\.0\.self_attn"),
        kv_cache="fp8",
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    folder = tmp_path_factory.mktemp("tiny")
    model = tiny_model.write(folder / "model", dtype="bfloat16")
    return inspect_local(model, settings=Settings(cache=folder))


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def made(
    recipe: CompressedSpec,
    weights: Weights,
    heard: Heard,
    llmcompressor_environment: PythonEnvironment,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Checkpoint]:
    """The same, twice, in two caches, side by side."""

    def make(folder: Path) -> Checkpoint:
        checkpoint, reused = CompressedTensors().make(
            weights, recipe, environment=llmcompressor_environment, moment=MOMENT,
            template_variables={}, settings=Settings(cache=folder), progress=heard,
            log=folder / "log.txt",
        )  # fmt: skip
        assert not reused, (folder / "log.txt").read_text()
        return checkpoint

    folders = [tmp_path_factory.mktemp("cache") for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        return list(pool.map(make, folders))


@pytest.mark.engine
def test_the_same_is_made_of_the_same(made: list[Checkpoint]) -> None:
    first, second = made
    assert first.path != second.path
    assert first.digest == second.digest


@pytest.mark.engine
def test_a_checkpoint_holds_what_the_recipe_says(
    made: list[Checkpoint], recipe: CompressedSpec, weights: Weights
) -> None:
    folder = made[0].path
    found = quantization.of(folder)
    assert found
    assert found.doubts == ()
    assert found.kv_cache == "FP8"
    assert {scheme.phrase for scheme in found.schemes} == {
        "4-bit, groups of 128", "FP8 (dynamic), one scale a channel"
    }  # fmt: skip
    tensors = safetensors_header.read(folder / "model.safetensors")
    kinds = {
        name: {part for part in ("weight", "weight_packed") if f"{name}.{part}" in tensors}
        for name in (
            "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj",
            "model.layers.1.mlp.down_proj",
        )
    }  # fmt: skip
    assert list(kinds.values()) == [{"weight"}, {"weight_packed"}, {"weight"}]
    assert tensors["model.layers.0.self_attn.q_proj.weight"].dtype == "BF16"
    assert tensors["model.layers.1.mlp.down_proj.weight"].dtype == "F8_E4M3"
    # The cache has its scales, also where the layers before it are left.
    found_scales = tensors_of([folder / "model.safetensors"])
    cache = [
        found_scales[f"model.layers.{n}.self_attn.{one}_scale"] for n in (0, 1) for one in "kv"
    ]
    values = [float(floats(all_of(scale), scale.dtype).max()) for scale in cache]
    assert all(1e-4 < value < 1 for value in values), values
    scales = ("1.mlp.down_proj.weight", "1.mlp.up_proj.weight", "0.self_attn.k")
    assert [tensors[f"model.layers.{name}_scale"].dtype for name in scales] == [
        "F32", "BF16", "F32"
    ]  # fmt: skip
    checks = files.look(folder, baseline=[weights.path / "model.safetensors"], progress=Silent())
    assert [check for check in checks if not check.ok] == []
    [share] = [check.value for check in checks if check.name == files.SHARE]
    assert share.startswith("10 of 14 linear layers")


@pytest.mark.engine
def test_a_checkpoint_is_its_models_in_all_else(
    made: list[Checkpoint], weights: Weights, heard: Heard
) -> None:
    folder, record = made[0].path, made[0].made
    assert record
    config = json.loads((folder / "config.json").read_text())
    assert config.pop("quantization_config") == made[0].quantization_config
    baseline = json.loads((weights.path / "config.json").read_text())
    assert config == baseline | {"torch_dtype": "bfloat16", "dtype": "bfloat16"}
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (folder / name).read_bytes() == (weights.path / name).read_bytes()
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "generation_config.json", "manifest.json", "model.safetensors",
        "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert stat.S_IMODE((folder / "model.safetensors").stat().st_mode) & 0o044
    assert record.calibration
    assert record.calibration.used == len(LENGTHS)
    assert (record.search_dtype, record.versions["llmcompressor"]) == ("float32", "0.14.0.1")
    # Each layer is heard of, before it and after it.
    assert {("quantizing", done, 2) for done in (0, 1, 2)} <= set(heard.updates)


@pytest.mark.engine
def test_weights_that_sixteen_bits_cannot_hold_are_refused_and_so_are_patterns_for_nothing(
    tmp_path: Path, llmcompressor_environment: PythonEnvironment
) -> None:
    from safetensors.numpy import save_file

    spoiled = request(tmp_path / "spoiled")
    file = spoiled.model / "model.safetensors"
    tensors = {name: tensor.astype(np.float32) for name, tensor in load_file(file).items()}
    tensors["model.norm.weight"][3] = 1e6
    save_file(tensors, file, metadata={"format": "pt"})
    config = spoiled.model / "config.json"
    config.write_text(config.read_text().replace("bfloat16", "float32"))
    nothing = request(tmp_path / "nothing", ignore=["lm_head", "re:.*experts"])
    with ThreadPoolExecutor() as pool:
        infinite, idle = (pool.submit(ask, one, llmcompressor_environment)
                          for one in (spoiled, nothing))  # fmt: skip
    with pytest.raises(QuantizationError, match=r"model\.norm\.weight holds values that float16"):
        infinite.result()
    with pytest.raises(UnsupportedModel, match="no layer of the model is meant by"):
        idle.result()
