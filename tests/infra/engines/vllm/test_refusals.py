from __future__ import annotations

from typing import Any

import pytest

from infra import ENVIRONMENT
from infra.contracts.errors import Unservable
from infra.contracts.specs import ServingSpec
from infra.engines.vllm.refusals import check
from infra.models.memory_need import from_config, from_name

CONFIG: dict[str, Any] = {
    "vocab_size": 1000, "hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 2,
    "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 2048,
    "torch_dtype": "bfloat16",
}  # fmt: skip


def looked(config: dict[str, Any] | None = None, **serving: Any) -> str | None:
    whole = CONFIG | (config or {})
    return check(ServingSpec.model_validate(serving), from_config(whole, 10**6), whole)


def test_what_is_served_is_said() -> None:
    assert looked() == "auto, a window of 2048 tokens"
    assert looked(max_model_len=512, dtype="float16") == "float16, a window of 512 tokens"


def test_of_a_model_that_only_has_a_name_nothing_is_said() -> None:
    assert check(ServingSpec(tensor_parallel_size=5), from_name("org/Model-7B"), {}) is None
    assert check(ServingSpec(), None, {}) is None


@pytest.mark.parametrize(
    ("config", "serving", "says"),
    [
        ({}, {"tensor_parallel_size": 4}, "6 attention heads"),
        ({}, {"max_model_len": 4096}, "made for 2048 tokens"),
        ({"rope_scaling": {"type": "default"}}, {"max_model_len": 4096}, "made for 2048"),
        ({}, {"max_model_len": 8200, "yarn_factor": 4}, "8192 tokens with serving.yarn_factor=4"),
        (
            {"rope_parameters": {"rope_type": "yarn"}},
            {"max_model_len": 4096, "yarn_factor": 2},
            "stretched already",
        ),
        (
            {"max_position_embeddings": None},
            {"max_model_len": 4096, "yarn_factor": 2},
            "does not say",
        ),
    ],
)
def test_what_the_engine_would_refuse_is_refused(
    config: dict[str, Any], serving: dict[str, Any], says: str
) -> None:
    with pytest.raises(Unservable, match=says) as caught:
        looked(config, **serving)
    assert caught.value.remedy


def test_what_it_takes_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked(tensor_parallel_size=2)
    assert looked({"rope_scaling": {"rope_type": "yarn"}}, max_model_len=4096)
    assert looked(max_model_len=8192, yarn_factor=4) == "auto, a window of 8192 tokens"
    monkeypatch.setitem(ENVIRONMENT, "VLLM_ALLOW_LONG_MAX_MODEL_LEN", "1")
    assert looked(max_model_len=4096)


@pytest.mark.parametrize("said", ["0", "False", ""])
def test_it_is_heard_as_the_engine_hears_it(said: str) -> None:
    with pytest.raises(Unservable):
        looked(max_model_len=4096, variables={"VLLM_ALLOW_LONG_MAX_MODEL_LEN": said})


def test_what_is_said_to_divide_the_heads_does() -> None:
    with pytest.raises(Unservable) as caught:
        looked(tensor_parallel_size=4)
    assert caught.value.remedy.endswith(": 1, 2, 3.")
    assert looked(tensor_parallel_size=3)


def test_what_is_set_for_the_engine_alone_is_heard_too() -> None:
    allowed = {"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"}
    assert looked(max_model_len=4096, variables=allowed)
