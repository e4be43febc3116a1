from __future__ import annotations

import json
from typing import Any

import pytest

from infra.contracts.capability import Capability
from infra.contracts.errors import Unservable
from infra.contracts.specs import ServingSpec
from infra.engines.llamacpp.refusals import check
from infra.engines.registry import engine_of
from infra.models.memory_need import from_config, from_name
from tests.broken_checkpoints import SAMPLE

CONFIG: dict[str, Any] = json.loads((SAMPLE / "config.json").read_text())


def looked(config: dict[str, Any] | None = None, **serving: Any) -> str | None:
    whole = CONFIG | (config or {})
    spec = ServingSpec.model_validate({"engine": "llamacpp"} | serving)
    return check(spec, from_config(whole, 10**6), whole)


def test_what_is_served_is_said() -> None:
    assert looked() == "a key-value cache of f16, a window of 2048 tokens"
    assert looked(dtype="float32", max_model_len=512) == (
        "a key-value cache of f32, a window of 512 tokens"
    )


def test_of_a_model_that_only_has_a_name_nothing_is_said() -> None:
    spec = ServingSpec(engine="llamacpp")
    assert check(spec, from_name("org/Model-7B"), {}) is None
    assert check(spec, None, {}) is None


def test_a_window_beyond_the_models_is_refused_unless_it_is_stretched() -> None:
    with pytest.raises(Unservable, match="made for 2048 tokens"):
        looked(max_model_len=4096)
    assert looked(max_model_len=4096, extra_args=["--rope-freq-scale", "0.5"])


def test_a_window_that_nobody_knows_is_refused() -> None:
    with pytest.raises(Unservable, match="unknown how long a window"):
        looked({"max_position_embeddings": None})
    assert looked({"max_position_embeddings": None}, max_model_len=512)


def test_what_it_can_be_asked_for() -> None:
    engine = engine_of(ServingSpec(engine="llamacpp"))
    can = engine.can(ServingSpec(engine="llamacpp"))
    assert Capability.FORCED_LOGPROBS in can
    assert not can & {
        Capability.ECHO_LOGPROBS, Capability.PROMPT_LOGPROBS, Capability.CHOSEN_LOGPROBS
    }  # fmt: skip
    assert (engine.title, engine.environment, engine.reads) == ("llama.cpp", "llamacpp", "gguf")


def test_the_command_for_people_names_the_file_and_the_cache() -> None:
    spec = ServingSpec(engine="llamacpp", dtype="float32")
    command = engine_of(spec).by_hand("org/model", spec, 1024, ("--lora", "x"))
    assert " ".join(command) == (
        "llama-server --model org/model/model.gguf --ctx-size 1024 --parallel 1 "
        "--cache-type-k f32 --cache-type-v f32 --flash-attn off --lora x"
    )
