"""Adapters, as peft writes them and as they go wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from infra.contracts.errors import AssayError
from infra.contracts.progress import Silent
from infra.contracts.records import Adapter
from infra.contracts.specs import AdapterSpec
from infra.models import lora
from infra.models.weights import inspect_local
from infra.store.settings import Settings

SAMPLE = Path(__file__).parents[3] / "infra" / "sample"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The sample's adapter, to be hurt."""
    return Path(shutil.copytree(SAMPLE / "adapter", tmp_path / "adapter"))


def looked_at(folder: Path, tmp_path: Path, **fields: Any) -> Adapter:
    settings = Settings(cache=tmp_path / "cache")
    found = lora.fetch(AdapterSpec(id=str(folder), **fields), settings=settings, progress=Silent())
    lora.check_fits(found, inspect_local(SAMPLE / "model", settings=settings))
    return found


def configured(**fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


def with_tensors(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def hurt(folder: Path) -> None:
        tensors = load_file(folder / lora.WEIGHTS)
        change(tensors)
        save_file(tensors, folder / lora.WEIGHTS)

    return hurt


def _another_model(tensors: dict[str, Any]) -> None:
    for name in [name for name in tensors if "mlp" in name and "lora_A" in name]:
        tensors[name] = np.zeros((8, 384), np.float32)


def _a_layer_too_many(tensors: dict[str, Any]) -> None:
    name = next(name for name in tensors if ".5." in name)
    pair = [n for n in tensors if n.rpartition(".lora_")[0] == name.rpartition(".lora_")[0]]
    tensors |= {one.replace(".5.", ".25."): tensors[one] for one in pair}


def _one_half(tensors: dict[str, Any]) -> None:
    del tensors[next(name for name in tensors if "lora_B" in name)]


def _no_lora(tensors: dict[str, Any]) -> None:
    tensors.clear()
    tensors["soft_prompt"] = np.zeros((4, 256), np.float32)


def _pickled(folder: Path) -> None:
    (folder / lora.WEIGHTS).rename(folder / "adapter_model.bin")


def _cut(folder: Path) -> None:
    path = folder / lora.WEIGHTS
    path.write_bytes(path.read_bytes()[:1000])


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "no folder": (shutil.rmtree, "There is no folder"),
    "no configuration": (lambda f: (f / "adapter_config.json").unlink(), "no adapter_config.json"),
    "no weights": (lambda f: (f / lora.WEIGHTS).unlink(), "no adapter_model.safetensors"),
    "a pickle": (_pickled, "only as a pickle"),
    "cut off": (_cut, "it has 1000"),
    "no JSON": (lambda f: (f / "adapter_config.json").write_text("{"), "is not JSON"),
    "another kind": (configured(peft_type="IA3"), "of the kind IA3"),
    "DoRA": (configured(use_dora=True), "brings DoRA"),
    "whole layers": (configured(modules_to_save=["lm_head"]), "whole layers (lm_head)"),
    "biases": (configured(bias="all"), "biases (bias=all)"),
    "no LoRA in it": (with_tensors(_no_lora), "changes no layer"),
    "half of a pair": (with_tensors(_one_half), "no two matrices"),
    "of another size": (with_tensors(_another_model), "has 256 × 384"),
    "of a deeper model": (with_tensors(_a_layer_too_many), "which"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_applied_is_refused(case: str, folder: Path, tmp_path: Path) -> None:
    hurt, fact = BAD[case]
    hurt(folder)
    with pytest.raises(AssayError) as caught:
        looked_at(folder, tmp_path)
    if case == "of another size":
        assert "× 384 for" in str(caught.value)
    else:
        assert fact in str(caught.value)
    assert caught.value.remedy


def test_what_the_engine_does_not_apply_can_be_merged(folder: Path, tmp_path: Path) -> None:
    configured(use_dora=True)(folder)
    assert looked_at(folder, tmp_path, merge=True).merged


def test_a_sound_one_is_described(folder: Path, tmp_path: Path) -> None:
    found = looked_at(folder, tmp_path)
    assert (found.rank, found.base_model, found.merged) == (8, "infra/sample/model", False)
    assert found.size_bytes == (folder / lora.WEIGHTS).stat().st_size


def test_what_is_written_after_it_was_looked_at_changes_nothing(
    folder: Path, tmp_path: Path
) -> None:
    found = looked_at(folder, tmp_path)
    configured(lora_alpha=32)(folder)
    assert found.path != folder
    assert json.loads((found.path / "adapter_config.json").read_text())["lora_alpha"] == 16


def test_other_contents_are_another_adapter_and_another_place_is_not(
    folder: Path, tmp_path: Path
) -> None:
    first = looked_at(folder, tmp_path)
    moved = looked_at(folder.rename(tmp_path / "moved"), tmp_path)
    assert moved.digest == first.digest
    configured(lora_alpha=32)(tmp_path / "moved")
    assert looked_at(tmp_path / "moved", tmp_path).digest != first.digest


def test_a_folder_has_no_revision() -> None:
    with pytest.raises(ValueError, match=r"adapter\.revision"):
        AdapterSpec(id="adapter", revision="main")
