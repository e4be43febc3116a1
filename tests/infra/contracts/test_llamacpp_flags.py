"""Settings of llama.cpp: what is refused when a spec is built, and what a candidate inherits."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from infra.contracts.llamacpp_flags import OWNED, chat_only_among, flag_names, owned_among
from infra.contracts.specs import ServingChanges, ServingSpec


def refused(**serving: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        ServingSpec.model_validate({"engine": "llamacpp"} | serving)
    return str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["-c", "5"], {"-c"}),
        (["--ctx_size=5"], {"--ctx-size"}),
        (["--rope-freq-scale", "-0.5"], {"--rope-freq-scale"}),
        (["--no-mmap", "-ngl", "0"], {"--no-mmap", "-ngl"}),
        ([], set()),
    ],
)
def test_flags_are_read_in_every_spelling(arguments: list[str], names: set[str]) -> None:
    assert flag_names(arguments) == names


def test_the_users_own_flags_are_taken() -> None:
    arguments = ["--cache-type-k", "q8_0", "-fa", "on", "--threads", "2", "--lora", "x.gguf"]
    assert owned_among(arguments) == chat_only_among(arguments) == {}
    assert ServingSpec(engine="llamacpp", extra_args=tuple(arguments)).extra_args
    assert all(name.startswith("-") for name in OWNED)


@pytest.mark.parametrize(
    ("serving", "says"),
    [
        ({"extra_args": ["-c", "4096"]}, "serving.max_model_len"),
        ({"extra_args": ["--ctx_size=4096"]}, "serving.max_model_len"),
        ({"extra_args": ["-np", "8"]}, "evaluation.concurrency"),
        ({"extra_args": ["-m", "other.gguf"]}, "use model.id"),
        ({"extra_args": ["--api-key", "x"]}, "leave it out"),
        ({"extra_args": ["--host", "0.0.0.0"]}, "leave it out"),
        ({"extra_args": ["--temp", "1"]}, "leave it out"),
        ({"extra_args": ["--logit-bias", "5+1"]}, "leave it out"),
        ({"extra_args": ["--chat-template", "chatml"]}, "it would change nothing"),
        ({"extra_args": ["--jinja"]}, "it would change nothing"),
        ({"tensor_parallel_size": 2}, "It is a setting of vLLM"),
        ({"memory_fraction": 0.5}, "It is a setting of vLLM"),
        ({"enforce_eager": True}, "It is a setting of vLLM"),
        ({"adjust": True}, "It is a setting of vLLM"),
        ({"variables": {"LLAMA_ARG_CTX_SIZE": "9"}}, "takes such variables for flags"),
        ({"variables": {"LLAMA_API_KEY": "x"}}, "By its name that is a secret"),
        ({"engine": "llama.cpp"}, "Input should be 'vllm' or 'llamacpp'"),
        ({"dtype": "q8_0"}, "Input should be 'auto'"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_at_once(serving: dict[str, Any], says: str) -> None:
    assert says in refused(**serving)


def test_flags_of_vllm_are_no_business_of_llama_cpp() -> None:
    assert ServingSpec(engine="llamacpp", extra_args=("--max-num-seqs", "4"))
    with pytest.raises(ValidationError, match="cannot be read"):
        ServingSpec(extra_args=("stray", "--ctx-size"))


def test_by_itself_it_computes_on_a_processor() -> None:
    assert ServingSpec().computes_on == "auto"
    assert ServingSpec(engine="llamacpp").computes_on == "cpu"
    assert ServingSpec(engine="llamacpp", device="cuda").computes_on == "cuda"


def test_a_candidate_on_another_engine_inherits_what_both_know() -> None:
    baseline = ServingSpec(
        max_model_len=1024, dtype="float32", memory_fraction=0.5, enforce_eager=True, adjust=True,
        extra_args=("--max-num-seqs", "4"), variables={"VLLM_X": "1"}, python="/opt/python",
        hang_timeout_seconds=77,
    )  # fmt: skip
    serving = ServingChanges(engine="llamacpp", extra_args=("--threads", "1")).over(baseline)
    assert serving == ServingSpec(
        engine="llamacpp", max_model_len=1024, dtype="float32", extra_args=("--threads", "1"),
        hang_timeout_seconds=77,
    )  # fmt: skip
    same = ServingChanges(engine="vllm", max_model_len=512).over(baseline)
    assert same == baseline.model_copy(update={"max_model_len": 512})
