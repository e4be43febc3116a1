from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from infra.contracts import vllm_flags
from infra.contracts.errors import SpecError
from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.contracts.vllm_flags import CHAT_ONLY, MERGED, OWNED, flag_names, owned_among

_LIST_FLAGS = """
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

for action in make_arg_parser(FlexibleArgumentParser())._actions:
    if names := sorted(action.option_strings, key=lambda name: not name.startswith("--")):
        print("FLAG", {None: 1}.get(action.nargs, action.nargs), *names)
"""


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ("--no-enforce-eager", "--enforce-eager"),
        ("--enforce_eager", "--enforce-eager"),
        ("--no_enforce_eager", "--enforce-eager"),
        ("--no-enf", "--enforce-eager"),
        ("--enfor", "--enforce-eager"),
        ("-O3", "--optimization-level"),
        ("-O 3", "--optimization-level"),
        ("-O=3", "--optimization-level"),
        ("-O.level=3", "--optimization-level"),
        ("--optim 0", "--optimization-level"),
        ("-cc.mode=3", "--compilation-config"),
        ("-cc.mode 3", "--compilation-config"),
        ('-cc={"mode":3}', "--compilation-config"),
        ("--compilation_config.pass_config.fuse_norm_quant true", "--compilation-config"),
        ("--compil.mode=0", "--compilation-config"),
        ("-tp2", "--tensor-parallel-size"),
        ("-tp=2", "--tensor-parallel-size"),
        ("-tp 2", "--tensor-parallel-size"),
        ("-t 2", "--tensor-parallel-size"),
        ("--tensor-par 2", "--tensor-parallel-size"),
        ("--tensor_parallel_size=2", "--tensor-parallel-size"),
        ("-pp2", "--pipeline-parallel-size"),
        ("-dp4", "--data-parallel-size"),
        ("-dpl 2", "--data-parallel-size-local"),
        ("--data-parallel-hybrid-lb", "--data-parallel-hybrid-lb"),
        ("-n2", "--nnodes"),
        ("-qawq", "--quantization"),
        ("-q=awq", "--quantization"),
        ("--no-trust-remote-code", "--trust-remote-code"),
        ("--max_model_len=5", "--max-model-len"),
        ("--max-model 5", "--max-model-len"),
        ("--device-memory-utilization 0.5", "--gpu-memory-utilization"),
        ("--gpu_mem=0.5", "--gpu-memory-utilization"),
        ("--served-model a b", "--served-model-name"),
        ("--config flags.yaml", "--config"),
        ("--hf-overrides.max_position_embeddings=64", "--hf-overrides"),
        ("--override-gen {}", "--override-generation-config"),
        ("--load-format dummy", "--load-format"),
        ("--no-disable-uvicorn-access-log", "--disable-uvicorn-access-log"),
        ("--max-num-batched-tokens 2048 --no-enforce-eager", "--enforce-eager"),
        ("--help=all", "--help"),
        ("-h", "--help"),
    ],
)
def test_every_spelling_of_a_flag_that_assay_sets_is_refused(arguments: str, name: str) -> None:
    with pytest.raises(SpecError, match=f"sets {name}\\.") as caught:
        _spec(arguments.split())
    assert f"remedy: {name}: " in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        "64",
        "--enable-prefix-caching 64",
        "--max-num-seqs 64 128",
        "--max-num-seqs=64 128",
        "--enable-prefix-caching Qwen/Qwen3-8B",
        "-- Qwen/Qwen3-8B",
        "--max-num-seqs",
        "--max 5",
        "--enable-prefix-caching=true",
        "-",
    ],
)
def test_what_the_engine_would_misread_is_refused(arguments: str) -> None:
    with pytest.raises(SpecError, match=r"serving\.extra_args cannot be read: .*\n.*\nremedy: "):
        _spec(arguments.split())


def test_two_words_in_one_item_are_refused() -> None:
    for item in ("--max-num-seqs 64", "--served-model-name x", "--nosuch 5", ""):
        with pytest.raises(SpecError, match="cannot be read"):
            _spec([item])


def test_other_flags_are_passed_on_whatever_their_values_look_like() -> None:
    allowed = (
        "--max-num-seqs 64 --kv-cache-dtype fp8 --no-enable-prefix-caching -sc.model=/draft "
        "--lora-modules a=b c=d --limit-mm-per-prompt.image 2 --kv_offloading_size -1 "
        "--attention-config.backend=TRITON_ATTN"
    )
    _spec(allowed.split())
    _spec(["--speculative-config", '{"model": "--dtype", "num_speculative_tokens": 2}'])
    assert flag_names(allowed.split()) == {
        "--max-num-seqs", "--kv-cache-dtype", "--enable-prefix-caching", "--speculative-config",
        "--lora-modules", "--limit-mm-per-prompt", "--kv-offloading-size", "--attention-config",
    }  # fmt: skip


def test_a_flag_of_another_version_is_left_to_the_engine() -> None:
    arguments = ["--no_such_flag", "5", "--nor-this=5", "--max-num-seqs", "64"]
    assert flag_names(arguments) == {"--no-such-flag", "--nor-this", "--max-num-seqs"}
    assert not owned_among(arguments)


@pytest.mark.parametrize(
    ("arguments", "name", "instead"),
    [
        ("--chat-template x.jinja", "--chat-template", "chat_template.jinja"),
        ("--chat_template=x.jinja", "--chat-template", "chat_template.jinja"),
        (
            "--default-chat-template-kwargs {}",
            "--default-chat-template-kwargs",
            "chat_template_kwargs",
        ),
        (
            "--default-chat.enable_thinking=false",
            "--default-chat-template-kwargs",
            "chat_template_kwargs",
        ),
        ("--reasoning-parser qwen3", "--reasoning-parser", "evaluation.chat_template_kwargs"),
        ("--enable-reasoning", "--enable-reasoning", "leave it out"),
        ("--no-enable-auto-tool-choice", "--enable-auto-tool-choice", "leave it out"),
        ("--tool-call hermes", "--tool-call-parser", "use serving.tool_parser"),
        ("--response-role model", "--response-role", "leave it out"),
        ("--chat-template-content openai", "--chat-template-content-format", "leave it out"),
    ],
)
def test_a_flag_that_acts_on_chats_alone_is_refused(
    arguments: str, name: str, instead: str
) -> None:
    with pytest.raises(SpecError, match=f"sets {name}\\.") as caught:
        _spec(["--max-num-seqs", "8", *arguments.split()])
    assert "/v1/completions" in caught.value.cause
    assert caught.value.remedy.startswith(f"{name}: ")
    assert instead in caught.value.remedy


def test_every_flag_named_here_is_one_of_the_engine() -> None:
    listed = {name for line in _table() for name in line.split()[1:]}
    assert {*OWNED, *MERGED, *CHAT_ONLY} - listed == {"--enable-reasoning"}


@pytest.mark.engine
def test_the_locked_engine_has_these_flags(server_environment: PythonEnvironment) -> None:
    printed = subprocess.run(
        [str(server_environment.python), "-I", "-c", _LIST_FLAGS],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    lines = [line[5:] for line in printed.stdout.splitlines() if line.startswith("FLAG ")]
    assert sorted(lines) == sorted(_table())


def _spec(arguments: list[str]) -> None:
    # pydantic wraps what a validator raises; the sentence is the same.
    try:
        ServingSpec(extra_args=tuple(arguments))
    except ValueError as error:
        inner = error.errors()[0]["ctx"]["error"]  # type: ignore[attr-defined]
        raise inner from None


def _table() -> list[str]:
    file = Path(vllm_flags.__file__).with_suffix(".txt")
    return file.read_text(encoding="utf-8").splitlines()
