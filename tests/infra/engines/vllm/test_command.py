from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from infra import ENVIRONMENT
from infra.contracts.records import Adapter
from infra.contracts.specs import ServingSpec
from infra.contracts.vllm_flags import MERGED, OWNED
from infra.engines.vllm.command import build_command, engine_environment, inherited, kv_cache_bytes
from infra.machine import device
from infra.machine.device import Device

CPU = Device(kind="cpu", name="a processor", count=1, memory_bytes=2**34)
GPU = Device(kind="cuda", name="NVIDIA H200", count=2, memory_bytes=2**37)
GIB = 2**30
QWEN_7B = {
    "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
    "hidden_size": 3584, "max_position_embeddings": 32768, "torch_dtype": "bfloat16",
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(QWEN_7B))
    return tmp_path


def command(
    model: Path, where: Device, concurrency: int | None = 32, cores: int = 2, **spec: Any
) -> list[str]:
    return list(
        build_command(
            python=Path("/env/bin/python"), model=model, served_name="base-1", port=20001,
            spec=ServingSpec(**spec), device=where, concurrency=concurrency,
            free_memory_bytes=20 * GIB, cores=cores,
        )
    )  # fmt: skip


def test_the_whole_command_on_a_gpu(model: Path) -> None:
    assert command(model, GPU) == [
        "/env/bin/python", "-I", "-u", "-m", "vllm.entrypoints.openai.api_server",
        "--model", str(model), "--served-model-name", "base-1",
        "--host", "127.0.0.1", "--port", "20001", "--disable-uvicorn-access-log",
        "--generation-config", "vllm", "--seed", "0", "--dtype", "auto",
        "--tensor-parallel-size", "1", "--gpu-memory-utilization", "0.9",
    ]  # fmt: skip


@pytest.mark.parametrize(("rank", "made_room_for"), [(1, "8"), (8, "8"), (9, "16"), (512, "512")])
def test_an_adapter_answers_under_the_name_that_is_asked_for(
    model: Path, rank: int, made_room_for: str
) -> None:
    adapter = Adapter(
        path=Path("/adapters/a"), source="local", id="a", revision=None, files=(), digest="d",
        size_bytes=1, rank=rank, base_model=None,
    )  # fmt: skip
    built = build_command(
        python=Path("python"), model=model, served_name="tuned-1", port=1, spec=ServingSpec(),
        device=GPU, concurrency=8, adapter=adapter, free_memory_bytes=GIB, cores=2,
    )  # fmt: skip
    text = " ".join(built)
    assert "--served-model-name tuned-1-without-adapter" in text
    assert "--lora-modules tuned-1=/adapters/a" in text
    assert f"--enable-lora --max-lora-rank {made_room_for}" in text


def test_on_a_cpu_nothing_is_compiled_and_the_cache_is_sized(model: Path) -> None:
    built = command(model, CPU)
    assert "--enforce-eager" in built
    assert "--gpu-memory-utilization" not in built
    assert built[built.index("--kv-cache-memory-bytes") + 1] == str(6 * GIB)


@pytest.mark.parametrize(("cores", "windows"), [(1, 16), (2, 32), (8, 128), (64, 128)])
def test_without_a_stated_concurrency_the_cache_is_for_what_the_cores_compute(
    model: Path, cores: int, windows: int
) -> None:
    built = command(model, CPU, None, cores, max_model_len=512)
    a_token = 57_344
    size = a_token * 2 * windows * (512 + 32)
    assert built[built.index("--kv-cache-memory-bytes") + 1] == str(min(size, 6 * GIB))
    assert "--max-num-seqs" not in built


def test_a_cache_by_what_is_free_comes_in_steps(model: Path) -> None:
    """Else no two servers would have the same, and be as fast."""
    sizes = {kv_cache_bytes(QWEN_7B, ServingSpec(), 32, int(free * GIB)) for free in (21, 21.5, 23)}
    assert sizes == {6 * GIB}


@pytest.mark.parametrize(
    ("stored", "asked", "instructions", "pooling", "computed"),
    [
        ("float16", "auto", ("avx512f", "avx512_bf16"), None, "bfloat16"),
        ("float16", "auto", ("avx512_fp16",), None, "auto"),
        ("float16", "auto", (), None, "auto"),
        ("float16", "float16", ("avx512f",), None, "float16"),
        ("bfloat16", "auto", ("avx512f",), None, "auto"),
        ("float32", "auto", ("avx512f",), None, "auto"),
        ("float16", "auto", ("avx512f",), "mean", "auto"),
    ],
)
def test_a_processor_computes_in_a_type_that_it_has_instructions_for(
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    stored: str,
    asked: Literal["auto", "float16"],
    instructions: tuple[str, ...],
    pooling: Literal["mean"] | None,
    computed: str,
) -> None:
    monkeypatch.setattr(device, "_cpuinfo", lambda field: instructions)
    (model / "config.json").write_text(json.dumps(QWEN_7B | {"torch_dtype": stored}))
    for where, expected in ((CPU, computed), (GPU, asked)):
        built = build_command(
            python=Path("python"), model=model, served_name="base-1", port=1,
            spec=ServingSpec(dtype=asked), device=where, concurrency=8, pooling=pooling,
            free_memory_bytes=GIB, cores=2,
        )  # fmt: skip
        assert built[built.index("--dtype") + 1] == expected


def test_what_the_spec_says_is_passed_on(model: Path) -> None:
    built = command(
        model, GPU, dtype="float16", max_model_len=4096, tensor_parallel_size=2,
        memory_fraction=0.5, enforce_eager=True, extra_args=("--max-num-seqs", "7"),
    )  # fmt: skip
    text = " ".join(built)
    assert "--dtype float16" in text
    assert "--max-model-len 4096" in text
    assert "--tensor-parallel-size 2" in text
    assert "--gpu-memory-utilization 0.5" in text
    assert "--enforce-eager" in built
    assert built[-2:] == ["--max-num-seqs", "7"]
    assert "--gpu-memory-utilization 0.25" in " ".join(command(model, CPU, memory_fraction=0.25))


@pytest.mark.parametrize(
    ("device", "concurrency", "raised"),
    [(CPU, 128, False), (CPU, 129, True), (GPU, 256, False), (GPU, 257, True)],
)
def test_sequences_are_raised_above_the_default_only(
    model: Path, device: Device, concurrency: int, raised: bool
) -> None:
    assert ("--max-num-seqs" in command(model, device, concurrency)) is raised


@pytest.mark.parametrize("device", [CPU, GPU])
def test_every_flag_is_the_users_or_ours_but_never_both(model: Path, device: Device) -> None:
    def flags(**spec: Any) -> list[str]:
        built = build_command(
            python=Path("/env/bin/python"), model=model, served_name="base-1", port=20001,
            spec=ServingSpec(**spec), device=device, concurrency=512, trust_remote_code=True,
            logprobs=100, free_memory_bytes=20 * GIB, cores=2,
        )  # fmt: skip
        return [part for part in built[5:] if part.startswith("--")]

    everything = {"max_model_len": 4096, "enforce_eager": True}
    for emitted in flags(**everything) + flags(**everything, memory_fraction=0.5):
        assert emitted.replace("--no-", "--") in MERGED or emitted in OWNED
    for name in MERGED:
        value = () if name == "--enable-chunked-prefill" else ("64",)
        spelt = name.replace("-", "_").replace("__", "--")
        assert flags(extra_args=(spelt, *value)).count(name) == 0
        assert flags(extra_args=(name, *value)).count(name) == 1


@pytest.mark.parametrize(("logprobs", "raised"), [(5, False), (20, False), (21, True)])
def test_likely_tokens_are_raised_above_the_default_only(
    model: Path, logprobs: int, raised: bool
) -> None:
    built = build_command(
        python=Path("/env/bin/python"), model=model, served_name="base-1", port=20001,
        spec=ServingSpec(), device=GPU, concurrency=None, logprobs=logprobs,
        free_memory_bytes=20 * GIB, cores=2,
    )  # fmt: skip
    assert (f"--max-logprobs {logprobs}" in " ".join(built)) is raised


def test_the_key_is_in_the_environment() -> None:
    environment = engine_environment(GPU, "the-key", cores=2, given={})
    assert environment["VLLM_API_KEY"] == "the-key"
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert not any(name.startswith("VLLM_CPU") for name in environment)
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in environment


@pytest.mark.parametrize("name", ["GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"])
def test_the_processes_of_an_engine_find_each_other_on_this_machine_alone(name: str) -> None:
    for kind in (CPU, GPU):
        assert engine_environment(kind, "k", cores=2, given={})[name] in ("lo", "lo0")
        assert name not in engine_environment(kind, "k", cores=2, given={name: "eth0"})


@pytest.mark.parametrize(
    ("cores", "given", "worker", "threads"),
    [
        (2, {}, "0", "1"),
        (3, {}, None, None),
        (2, {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}, None, "1"),
        (2, {"OMP_NUM_THREADS": "2"}, "0", None),
    ],
)
def test_a_worker_of_its_own_where_there_are_cores_for_it(
    cores: int, given: dict[str, str], worker: str | None, threads: str | None
) -> None:
    environment = engine_environment(CPU, "k", cores=cores, given=given)
    assert environment.get("VLLM_ENABLE_V1_MULTIPROCESSING") == worker
    assert environment.get("OMP_NUM_THREADS") == threads
    assert environment["VLLM_CPU_INT4_W4A8"] == "0"


def test_nothing_is_compiled_on_a_processor_unless_the_user_wants_it() -> None:
    assert engine_environment(CPU, "k", cores=2, given={})["TORCHDYNAMO_DISABLE"] == "1"
    given = {"TORCHDYNAMO_DISABLE": "0"}
    assert "TORCHDYNAMO_DISABLE" not in engine_environment(CPU, "k", cores=2, given=given)
    assert "TORCHDYNAMO_DISABLE" not in engine_environment(GPU, "k", cores=2, given={})


@pytest.mark.parametrize(
    ("config", "spec", "free", "expected"),
    [
        # 28 layers x 4 heads x 128 x 2 (key, value) x 2 bytes = 57,344 bytes a token
        (QWEN_7B, {"max_model_len": 2048}, 1000, 57_344 * 2 * 32 * (2048 + 32)),
        (QWEN_7B, {}, 10_000, 57_344 * 2 * 32 * (32768 + 32)),
        (QWEN_7B, {"max_model_len": 2048, "dtype": "float32"}, 1000, 114_688 * 64 * 2080),
        (QWEN_7B | {"head_dim": 64}, {"max_model_len": 2048}, 1000, 28_672 * 64 * 2080),
        (QWEN_7B, {}, 10, 3 * GIB),  # bounded by the free memory
        (QWEN_7B | {"num_hidden_layers": 1}, {"max_model_len": 64}, 10, GIB // 4),
        ({"text_config": QWEN_7B}, {}, 10, 3 * GIB),  # another kind of config
    ],
)
def test_the_cache_holds_every_request_twice_within_the_memory(
    config: dict[str, Any], spec: dict[str, Any], free: int, expected: int
) -> None:
    assert kv_cache_bytes(config, ServingSpec(**spec), 32, free * GIB) == expected


def test_a_cpu_keeps_small_blocks_and_a_gpu_its_own(model: Path) -> None:
    parts = command(model, CPU)
    assert parts[parts.index("--block-size") + 1] == "32"
    assert "--block-size" not in command(model, GPU)


def test_a_cpu_reads_no_prompt_in_parts(model: Path) -> None:
    flag = "--no-enable-chunked-prefill"
    assert command(model, CPU).count(flag) == 1
    assert flag not in command(model, GPU)
    for theirs in (flag, "--enable-chunked-prefill"):
        assert command(model, CPU, extra_args=(theirs,)).count(flag) == (theirs == flag)


def test_the_engines_own_variables_reach_it_but_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "VLLM_USE_FLASHINFER_SAMPLER", "0")
    monkeypatch.setitem(ENVIRONMENT, "VLLM_API_KEY", "somebody's")
    assert inherited()["VLLM_USE_FLASHINFER_SAMPLER"] == "0"
    assert "VLLM_API_KEY" not in inherited()


def test_positions_are_stretched_from_what_the_model_was_made_for(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**QWEN_7B, "rope_theta": 1_000_000.0}))
    built = command(tmp_path, GPU, max_model_len=131_072, yarn_factor=4)
    assert json.loads(built[built.index("--hf-overrides") + 1]) == {
        "max_position_embeddings": 131_072,
        "model_max_length": 131_072,
        "rope_parameters": {
            "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768,
            "rope_theta": 1_000_000.0,
        },
    }  # fmt: skip
    assert "--hf-overrides" not in command(tmp_path, GPU)
