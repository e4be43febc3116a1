"""What a checkpoint has to have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.contracts.records import Quantization, QuantizationScheme
from infra.probes.triage.completeness import missing_alone, missing_beside, renamed, share
from infra.probes.triage.layers import layers_of
from infra.probes.triage.tensors import Tensor

PARTS = {"self_attn.q_proj": (8, 8), "mlp.up_proj": (16, 8), "input_layernorm": (8,)}
CONFIG = {"num_hidden_layers": 6, "vocab_size": 100}


def tensor(name: str, shape: tuple[int, ...] = (8, 8), dtype: str = "BF16") -> Tensor:
    return Tensor(name, dtype, shape, Path("x"), 0, 0)


def model(blocks: int = 6, prefix: str = "model.") -> dict[str, Tensor]:
    names = {f"{prefix}embed_tokens.weight": (100, 8), f"{prefix}norm.weight": (8,)}
    for number in range(blocks):
        for part, shape in PARTS.items():
            names[f"{prefix}layers.{number}.{part}.weight"] = shape
    return {name: tensor(name, shape) for name, shape in names.items()}


def alone(tensors: dict[str, Tensor], **config: Any) -> list[str]:
    return missing_alone(tensors, layers_of(tensors, None), CONFIG | config)


def without(tensors: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    assert {*names} <= {*tensors}
    return {name: one for name, one in tensors.items() if name not in names}


def test_a_whole_one_lacks_nothing() -> None:
    assert alone(model()) == []


@pytest.mark.parametrize("nested", [False, True])
def test_a_block_that_is_missing_is_named(nested: bool) -> None:
    config = {"text_config": CONFIG, "num_hidden_layers": None} if nested else {}
    assert alone(model(5), **config) == ["model.layers.5"]


def test_a_tensor_that_other_blocks_have_is_missed() -> None:
    lost = "model.layers.3.mlp.up_proj.weight"
    assert alone(without(model(), lost)) == [lost]


def test_blocks_of_two_kinds_are_compared_among_themselves() -> None:
    others = [f"model.layers.{n}.self_attn.q_proj.weight" for n in (0, 2, 4)]
    two_kinds = without(model(), *others)
    assert alone(two_kinds) == []
    kinds = ["linear_attention", "full_attention"] * 3
    lost = "model.layers.2.mlp.up_proj.weight"
    assert alone(without(two_kinds, lost), layer_types=kinds) == []  # one of three is no few
    many = {**CONFIG, "num_hidden_layers": 12, "layer_types": kinds * 2}
    tensors = without(model(12), *[f"model.layers.{n}.self_attn.q_proj.weight"
                                   for n in range(0, 12, 2)])  # fmt: skip
    assert alone(without(tensors, lost), **many) == [lost]


def test_blocks_that_were_pruned_one_by_one_lack_nothing() -> None:
    lost = "model.layers.3.mlp.up_proj.weight"
    assert alone(without(model(), lost), block_configs=[]) == []


def test_a_block_with_more_than_the_others_is_no_fault() -> None:
    first = {"model.layers.0.extra.weight": tensor("model.layers.0.extra.weight")}
    assert alone({**model(), **first}) == []


def test_embeddings_and_head_are_needed_as_the_configuration_says() -> None:
    bare = without(model(), "model.embed_tokens.weight")
    assert alone(bare) == ["embeddings of 100 tokens"]
    head = {"lm_head.weight": tensor("lm_head.weight", (100, 8))}
    assert alone({**bare, **head}) == ["embeddings of 100 tokens"]
    assert alone(model(), tie_word_embeddings=False) == ["lm_head"]
    assert alone({**model(), **head}, tie_word_embeddings=False) == []


def test_what_another_checkpoint_has_is_needed() -> None:
    baseline = {
        **model(7),
        "lm_head.weight": tensor("lm_head.weight", (100, 8)),
        "mtp.fc.weight": tensor("mtp.fc.weight"),
        "model.layers.0.rotary.inv_freq": tensor("model.layers.0.rotary.inv_freq"),
    }
    lost = "model.layers.3.mlp.up_proj.weight"
    present = {*without(model(), lost)}
    assert missing_beside(present, baseline, CONFIG) == [lost, "lm_head.weight"]
    tied = {**CONFIG, "tie_word_embeddings": True}
    assert missing_beside(present, baseline, tied) == [lost]


def test_experts_in_one_tensor_stand_for_each_of_them() -> None:
    experts = [f"model.layers.0.mlp.experts.{n}.up_proj.weight" for n in range(3)]
    baseline = {**model(), **{name: tensor(name) for name in experts}}
    present = {*model(), "model.layers.0.mlp.experts.up_proj"}
    assert missing_beside(present, baseline, CONFIG) == []
    assert missing_beside({*model(), *experts[:2]}, baseline, CONFIG) == experts[2:]


@pytest.mark.parametrize("prefix", ["", "model.", "model.language_model.", "language_model.model."])
def test_names_are_the_same_whatever_is_put_before_them(prefix: str) -> None:
    ours = model()
    assert {*renamed(model(prefix=prefix), ours)} == {*ours}


def test_names_that_two_tensors_might_have_are_left() -> None:
    ours = {*model(), *model(prefix="text_model.")}
    assert "norm.weight" in renamed(model(prefix=""), ours)


def quantized(*schemes: QuantizationScheme, ignored: tuple[str, ...] = ()) -> Quantization:
    return Quantization(method="gptq", understood=True, schemes=schemes, ignored=ignored)


def test_the_share_is_of_layers_and_of_weights() -> None:
    tensors = model()
    for number in range(3):
        name = f"model.layers.{number}.mlp.up_proj"
        del tensors[f"{name}.weight"]
        tensors[f"{name}.weight"] = Tensor(f"{name}.weight", "F8_E4M3", (16, 8), Path("x"), 0, 128)
        scale = f"{name}.weight_scale"
        tensors[scale] = Tensor(scale, "F32", (1,), Path("x"), 0, 4)
    layers = layers_of(tensors, None)
    said = share(layers, quantized(ignored=("q_proj",)), 848)
    linear = 6 * (64 + 128)
    assert said == (
        f"3 of 12 linear layers, {3 * 128 / linear:.1%} of their weights and "
        f"{3 * 128 / (linear + 848):.1%} of all; left: model.layers.*.self_attn.q_proj (6), "
        "model.layers.*.mlp.up_proj (3); the configuration does not name 3 of them"
    )
