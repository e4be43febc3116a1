"""Memory estimates against figures of others: published shapes and measured peaks."""

from __future__ import annotations

import pytest

from infra.contracts.specs import ServingSpec
from infra.models.memory_need import (
    GIB,
    from_config,
    from_name,
    main_memory,
    serving,
)

QWEN_7B = {
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "vocab_size": 152064,
    "max_position_embeddings": 32768,
    "torch_dtype": "bfloat16",
}
WEIGHTS_7B = 15_231_233_024


def test_the_cache_of_a_window_is_counted_as_the_engine_does() -> None:
    shape = from_config(QWEN_7B, WEIGHTS_7B)
    assert shape
    need = serving(shape, ServingSpec(max_model_len=8192))
    assert need.weights == WEIGHTS_7B
    assert need.cache == 2 * 28 * 4 * 128 * 2 * 8192
    assert serving(shape, ServingSpec()).window == 32768


def test_the_served_type_and_the_gpus_decide_the_weights() -> None:
    shape = from_config({**QWEN_7B, "torch_dtype": "float32"}, 2 * WEIGHTS_7B)
    assert shape
    assert serving(shape, ServingSpec()).weights == WEIGHTS_7B  # the engine halves float32
    assert serving(shape, ServingSpec(dtype="float32")).weights == 2 * WEIGHTS_7B
    assert serving(shape, ServingSpec(dtype="float16")).weights == WEIGHTS_7B
    halves = serving(shape, ServingSpec(dtype="float16", tensor_parallel_size=2))
    assert halves.weights == WEIGHTS_7B // 2


def test_the_longest_window_that_fits_just_fits() -> None:
    shape = from_config(QWEN_7B, WEIGHTS_7B)
    assert shape
    room = 17 * GIB
    need = serving(shape, ServingSpec())
    assert need.total > room
    longest = need.longest_window(room)
    assert serving(shape, ServingSpec(max_model_len=longest)).total <= room
    assert serving(shape, ServingSpec(max_model_len=longest + 2)).total > room
    assert need.longest_window(GIB) == 0


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", 7),
        ("Qwen/Qwen2.5-0.5B", 0.5),
        ("meta-llama/Llama-3.1-70B-Instruct", 70),
        ("Qwen/Qwen3-30B-A3B", 30),
    ],
)
def test_a_name_tells_the_size(name: str, billions: float) -> None:
    shape = from_name(name)
    assert shape and shape.guessed
    assert shape.parameters == billions * 1e9


@pytest.mark.parametrize("name", ["gpt2", "org/model-8bit", "org/model-0b"])
def test_a_name_without_a_size_tells_none(name: str) -> None:
    assert from_name(name) is None


def test_the_guess_from_the_name_is_near_the_truth() -> None:
    guess, truth = from_name("Qwen2.5-7B"), from_config(QWEN_7B, WEIGHTS_7B)
    assert guess and truth
    assert guess.cache_numbers == truth.cache_numbers
    assert 0.8 < guess.parameters / truth.parameters < 1.2


def test_a_config_of_another_kind_has_no_shape() -> None:
    assert from_config({"d_model": 512}, 10**9) is None


def test_free_memory_is_a_part_of_all() -> None:
    total, free = main_memory()
    assert 0 < free <= total
