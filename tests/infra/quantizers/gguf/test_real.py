"""What llama.cpp really makes of the sample, beside computations that share no code with it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from infra.contracts.errors import QuantizationError, UnsupportedModel
from infra.contracts.records import Checkpoint, Made, PythonEnvironment
from infra.contracts.specs import CalibrationSpec, GgufSpec
from infra.models import gguf_file, quantization
from infra.models.weights import inspect_local
from infra.probes.triage import findings, gguf_look
from infra.quantizers.gguf import Gguf
from infra.store.settings import Settings
from tests.conftest import MOMENT, ROOT, PrintProgress

pytestmark = pytest.mark.engine

SAMPLE = ROOT / "infra" / "sample"
IMPORTANCE = Path(__file__).with_name("importance_by_torch.py")
Numbers = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Bench:
    """Makes files of the sample, or of a copy that a test has changed."""

    environment: PythonEnvironment
    folder: Path

    def make(self, recipe: GgufSpec, model: Path = SAMPLE / "model") -> Checkpoint:
        settings = Settings(cache=self.folder / "cache")
        return Gguf().make(
            inspect_local(model, settings=settings),
            recipe,
            environment=self.environment,
            moment=MOMENT,
            template_variables={},
            settings=settings,
            progress=PrintProgress(),
            log=self.folder / "gguf.log",
        )[0]

    def copy(self, change: Callable[[str, Numbers], Numbers], **config: Any) -> Path:
        model = self.folder / "model"
        shutil.copytree(SAMPLE / "model", model)
        weights = load_file(model / "model.safetensors")
        changed = {name: change(name, values) for name, values in weights.items()}
        save_file(changed, model / "model.safetensors", metadata={"format": "pt"})
        self.edit(model, "config.json", config)
        return model

    @staticmethod
    def edit(model: Path, name: str, fields: dict[str, Any]) -> None:
        path = model / name
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.fixture
def bench(gguf_environment: PythonEnvironment, tmp_path: Path) -> Bench:
    return Bench(gguf_environment, tmp_path)


def weighed(kind: str = "q4_k_m") -> GgufSpec:
    calibration = CalibrationSpec(
        path=str(SAMPLE / "data" / "calibration.jsonl"), max_sequence_length=256
    )
    return GgufSpec(type=kind, importance=True, calibration=calibration)


def how_made(checkpoint: Checkpoint) -> Made:
    assert checkpoint.made is not None
    return checkpoint.made


def test_a_file_with_an_importance_matrix(bench: Bench) -> None:
    checkpoint = bench.make(weighed())
    file = gguf_file.read(checkpoint.path / "model.gguf")
    assert (file.architecture, file.type, file.weights) == ("qwen2", "Q4_K_M", 4_069_632)
    found = quantization.of(checkpoint.path)
    assert found is not None and found.description == "GGUF Q4_K_M, 4.97 bits a weight"
    assert checkpoint.size_bytes == (checkpoint.path / "model.gguf").stat().st_size
    beside = {"config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"}
    names = {file.name for file in checkpoint.files}
    assert names == {"model.gguf", *beside}
    for name in beside - {"config.json"}:
        assert (checkpoint.path / name).read_bytes() == (SAMPLE / "model" / name).read_bytes()
    made = how_made(checkpoint)
    assert made.facts["matrices_weighed"] == 42
    assert made.facts["fell_back"] == []
    tokenizer = made.facts["tokenizer"]
    assert (tokenizer["pre_tokenizer"], tokenizer["recognized"]) == ("qwen2", False)
    assert tokenizer["texts"] > 100 and tokenizer["different"] == 0
    checks = gguf_look.look(
        checkpoint.path / "model.gguf", [SAMPLE / "model" / "model.safetensors"], PrintProgress()
    )
    assert [check.name for check in checks if not check.ok] == []
    assert "42 of 42 linear layers" in next(c.value for c in checks if c.name == findings.SHARE)


def test_the_same_request_gives_the_same_bytes_and_conversations_matter(bench: Bench) -> None:
    def digest(checkpoint: Checkpoint) -> str:
        return hashlib.sha256((checkpoint.path / "model.gguf").read_bytes()).hexdigest()

    first = digest(bench.make(weighed("q3_k_m")))
    shutil.rmtree(bench.folder / "cache" / "checkpoints")
    # Elsewhere, under another name: what a folder is called is not in the file.
    model = bench.copy(lambda _, values: values)
    assert digest(bench.make(weighed("q3_k_m"), model)) == first
    assert digest(bench.make(GgufSpec(type="q3_k_m"))) != first


def test_f32_holds_the_weights_and_q8_0_rounds_as_another_program_does(bench: Bench) -> None:
    whole = gguf_file.read(bench.make(GgufSpec(type="f32")).path / "model.gguf")
    rounded = gguf_file.read(bench.make(GgufSpec(type="q8_0")).path / "model.gguf")
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, 6)
    stored = load_file(SAMPLE / "model" / "model.safetensors")
    assert len(stored) == len(whole.tensors) == len(rounded.tensors) == 74
    for name, values in stored.items():
        renamed = table.get_name(name, (".weight", ".bias"))
        assert renamed is not None
        numbers = values.astype(np.float32)
        assert np.array_equal(whole.tensors[renamed].data, numbers), name
        if numbers.ndim == 2:
            number = gguf.GGMLQuantizationType.Q8_0
            assert np.array_equal(
                rounded.tensors[renamed].data, gguf.quants.quantize(numbers, number)
            ), name


def test_the_importance_matrix_is_what_torch_computes(bench: Bench) -> None:
    """Sums of squares of what goes into each layer, by transformers in float32."""
    source = bench.make(GgufSpec(type="f16")).path / "model.gguf"
    found = subprocess.run(
        [bench.environment.python, "-I", IMPORTANCE, Gguf.worker.script.with_name("program"),
         SAMPLE / "model", source],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer = json.loads(found.stdout.splitlines()[-1])
    assert answer["matrices"] == 42
    assert answer["largest_relative_difference"] < 0.003


def test_what_no_block_fits_falls_back_and_is_named(bench: Bench) -> None:
    def narrow(name: str, values: Numbers) -> Numbers:
        if "down_proj" in name:
            return np.ascontiguousarray(values[:, :320])
        if "gate_proj" in name or "up_proj" in name:
            return np.ascontiguousarray(values[:320])
        return values

    model = bench.copy(narrow, intermediate_size=320)
    checkpoint = bench.make(GgufSpec(type="q4_k_m"), model)
    fell_back = how_made(checkpoint).facts["fell_back"]
    assert len(fell_back) == 6
    assert fell_back[0] == {
        "tensor": "blk.0.ffn_down.weight", "columns": 320, "block": 256,
        "wanted": "Q4_K", "got": "Q5_0",
    }  # fmt: skip
    checks = gguf_look.look(
        checkpoint.path / "model.gguf", [model / "model.safetensors"], PrintProgress()
    )
    assert [check.name for check in checks if not check.ok] == []
    share = next(check.value for check in checks if check.name == findings.SHARE)
    assert "since no block fits their rows: blk.0.ffn_down.weight (Q5_0)" in share


def test_a_tokenizer_that_nothing_reads_alike_is_refused_with_a_difference(bench: Bench) -> None:
    # transformers writes a pre-tokenizer of its own over that of tokenizer.json for qwen2 alone.
    model = bench.copy(lambda _, values: values, model_type="qwen3")
    path = model / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"[aeiou]|[^aeiou]+"
    path.write_text(json.dumps(tokenizer))
    with pytest.raises(UnsupportedModel, match="pre-tokenizers reads texts as it does") as e:
        bench.make(GgufSpec(type="q8_0"), model)
    assert " became " in e.value.fact
    assert "read texts in another way" in e.value.cause
    assert not list((bench.folder / "cache" / "checkpoints").glob("[!.]*"))


def test_weights_that_the_type_cannot_hold_are_refused(bench: Bench) -> None:
    def grow(name: str, values: Numbers) -> Numbers:
        grown = values.astype(np.float32)
        if "layers.2.mlp.down_proj" in name:
            grown[0, 0] = 1e6
        return grown

    model = bench.copy(grow, dtype="float32", torch_dtype="float32")
    with pytest.raises(QuantizationError, match=r"blk\.2\.ffn_down\.weight holds values") as caught:
        bench.make(GgufSpec(type="f16"), model)
    assert "exceed what the type holds" in caught.value.cause
