"""What every method reads of sizes; refusals are looked at with the limits of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.contracts.errors import Unservable, UnsupportedModel
from infra.contracts.specs import ServingSpec
from infra.models.memory_need import from_config
from infra.models.weights import inspect_local
from infra.quantizers import sizes
from infra.store.settings import Settings
from tests import tiny_model


def test_matrices_are_found_and_vectors_are_not(tmp_path: Path) -> None:
    model = tiny_model.write(tmp_path / "model", intermediate=272)
    found = list(sizes.matrices(inspect_local(model, settings=Settings(cache=tmp_path))))
    inner = [one for one in found if one[0] == "model.layers.1.mlp.down_proj.weight"]
    assert [inputs for _, inputs, _ in inner] == [272]
    assert not any("norm" in name for name, _, _ in found)
    numbered = [name for name, _, _ in found if sizes.is_numbered(name)]
    assert len(numbered) == 2 * 7
    assert "model.embed_tokens.weight" in {name for name, _, _ in found} - set(numbered)


@pytest.mark.parametrize(
    ("inputs", "remedy"),
    [
        (64, "Set quantization.group_size to 64 or 32."),
        (96, "Set quantization.group_size to 32."),
        (40, "None of 32, 64 and 128 fits; give up."),
    ],
)
def test_a_group_that_would_be_cut_is_refused(inputs: int, remedy: str) -> None:
    layers = [("a", 256, 128), ("b", inputs, 128)]
    sizes.check_groups("a model", layers[:1], "give up")
    with pytest.raises(UnsupportedModel, match=f"=128 does not divide the {inputs} inputs of b in"):
        sizes.check_groups("a model", layers, "give up")
    with pytest.raises(UnsupportedModel, match="2 layers like this") as caught:
        sizes.check_groups("a model", [*layers, ("c", inputs, 128)], "give up")
    assert caught.value.remedy == remedy


def test_gpus_share_whole_groups() -> None:
    config = {"num_attention_heads": 2, "hidden_size": 128, "num_hidden_layers": 2,
              "intermediate_size": 384, "vocab_size": 100}  # fmt: skip
    shape = from_config(config, 10_000)
    assert shape and not shape.guessed
    for parts, group in ((1, 128), (3, 128), (2, 64), (4, 32)):
        serving = ServingSpec(tensor_parallel_size=parts)
        sizes.check_shared("It", group, serving, shape)
    two, five = ServingSpec(tensor_parallel_size=2), ServingSpec(tensor_parallel_size=5)
    sizes.check_shared("It", 128, two, None)
    with pytest.raises(Unservable, match="It cannot be shared") as caught:
        sizes.check_shared("It", 128, two, shape)
    assert "group_size to 64" in str(caught.value.remedy)
    with pytest.raises(Unservable, match="384 inner inputs") as caught:
        sizes.check_shared("It", 32, five, shape)
    assert caught.value.remedy == "Share the model between fewer GPUs."
