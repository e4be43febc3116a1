"""The command line and the environment of the engine: pure functions of the spec."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from infra.contracts.records import Adapter
from infra.contracts.specs import ServingSpec
from infra.contracts.specs.embedding import Pooling
from infra.contracts.vllm_flags import flag_names
from infra.engines.vllm.stretching import overrides
from infra.machine.device import Device
from infra.machine.processes import clean_environment

SERVER = "vllm.entrypoints.openai.api_server"
"""The module that serves."""

VARIABLES = "VLLM_"
"""Its own variables begin so."""

KEY = "VLLM_API_KEY"
"""Variable of the key that requests must carry."""

GPU_MEMORY_FRACTION = 0.9
_POOLED = {"mean": "MEAN", "last": "LAST", "cls": "CLS"}
"""Ways of pooling, as the engine calls them."""
_CPU_MEMORY_FRACTION = 0.3
_DEFAULT_MAX_NUM_SEQS = {"cpu": 128, "cuda": 256}
"""Sequences that vLLM computes at a time by default (large GPUs: 1024)."""
_SEQUENCES_A_CORE = 16
"""Whole windows that a processor's core is given room for. Clearing 1.5 GiB takes it 3 s."""
_CPU_BLOCK_TOKENS = 32
"""The least that the CPU kernels take. Only whole blocks of a prompt are found again in the cache,
so the default of 128 would have every read compute a hundred tokens anew."""
DEFAULT_LOGPROBS = 20
"""Likeliest tokens that a question may ask for by default of the engine."""
_INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
"""Variables of the network interface on which an engine's processes find each other."""
_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
_GIBIBYTE = 2**30
_WITHOUT_ADAPTER = "-without-adapter"
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What it takes for the largest rank of an adapter."""
LARGEST_RANK = _RANKS[-1]


def build_command(
    *,
    python: Path,
    model: Path,
    served_name: str,
    port: int,
    spec: ServingSpec,
    device: Device,
    concurrency: int | None,
    trust_remote_code: bool = False,
    logprobs: int = DEFAULT_LOGPROBS,
    adapter: Adapter | None = None,
    pooling: Pooling | None = None,
    tool_parser: str | None = None,
    free_memory_bytes: int,
    cores: int,
) -> tuple[str, ...]:
    """Return the command that serves a model folder. It holds no secret.

    Args:
        python: Interpreter with vLLM.
        model: Folder of the model.
        served_name: The only name under which the model answers.
        port: Port on loopback.
        spec: How the model is served.
        device: What to compute on.
        concurrency: Questions that shall fit at a time; None leaves that to the engine.
        trust_remote_code: Run code that comes with the model.
        logprobs: Likeliest tokens that a question may ask for at each position.
        adapter: What to apply beside the model's weights. Its name is then the one under which the
            model answers, and the model as it is has another.
        pooling: Make vectors of texts, pooled so; none for a server that writes texts.
        tool_parser: What reads calls of functions out of answers; none where none are asked for.
        free_memory_bytes: Main memory that nobody uses now.
        cores: Processor cores that a server without an accelerator may use.
    """
    users = flag_names(spec.extra_args)  # of `MERGED` flags the user's replace ours
    # The module, not the `vllm` command: that one does not start with the CPU build.
    command = [str(python), "-I", "-u", "-m", SERVER]
    bare = served_name if adapter is None else f"{served_name}{_WITHOUT_ADAPTER}"
    command += ["--model", str(model), "--served-model-name", bare]
    if adapter is not None:
        rank = next(rank for rank in _RANKS if rank >= adapter.rank)
        command += ["--enable-lora", "--max-lora-rank", str(rank)]
        command += ["--lora-modules", f"{served_name}={adapter.path}"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--disable-uvicorn-access-log"]
    # The model's own generation config may hold a repetition penalty, which changes greedy answers.
    computed = spec.dtype if pooling else dtype(model, spec, device)
    command += ["--generation-config", "vllm", "--seed", "0", "--dtype", computed]
    command += ["--tensor-parallel-size", str(spec.tensor_parallel_size)]
    if spec.max_model_len is not None:
        command += ["--max-model-len", str(spec.max_model_len)]
    if spec.yarn_factor is not None:
        command += ["--hf-overrides", json.dumps(overrides(_config(model), spec.yarn_factor))]
    if spec.memory_fraction is not None:
        command += ["--gpu-memory-utilization", str(spec.memory_fraction)]
    elif device.kind == "cuda":
        command += ["--gpu-memory-utilization", str(GPU_MEMORY_FRACTION)]
    elif "--kv-cache-memory-bytes" not in users:
        # A stated size also spares the engine its trial run at start.
        sequences = concurrency or min(cores * _SEQUENCES_A_CORE, _DEFAULT_MAX_NUM_SEQS["cpu"])
        cache = kv_cache_bytes(_config(model), spec, sequences, free_memory_bytes)
        command += ["--kv-cache-memory-bytes", str(cache)]
    command += _embedding(pooling)
    if device.kind == "cpu" and pooling is None:
        command += _of_a_cpu(users)
    # On a CPU compilation needs a C++ compiler and minutes.
    if spec.enforce_eager or device.kind == "cpu":
        command.append("--enforce-eager")
    many = concurrency and concurrency > _DEFAULT_MAX_NUM_SEQS[device.kind]
    if many and "--max-num-seqs" not in users:
        command += ["--max-num-seqs", str(concurrency)]
    if logprobs > DEFAULT_LOGPROBS:
        command += ["--max-logprobs", str(logprobs)]
    if tool_parser:
        command += ["--enable-auto-tool-choice", "--tool-call-parser", tool_parser]
    if trust_remote_code:
        command.append("--trust-remote-code")
    return (*command, *spec.extra_args)


def dtype(model: Path, spec: ServingSpec, device: Device) -> str:
    """Return the type to compute in, as the engine calls it.

    A float16 checkpoint whose type is left to the engine is served in bfloat16 on a processor that
    has no instructions for float16: vLLM's own choice for devices without that type.
    """
    if spec.dtype != "auto" or device.computes_float16 or _stored(_config(model)) != "float16":
        return spec.dtype
    return "bfloat16"


def _stored(config: Mapping[str, Any]) -> str | None:
    """Return the type that a config says its weights have."""
    named: str | None = config.get("dtype") or config.get("torch_dtype")
    return named


def _embedding(pooling: Pooling | None) -> list[str]:
    """Return the flags of a server that makes vectors of texts; none for one that writes texts."""
    if pooling is None:
        return []
    flags = ["--runner", "pooling", "--convert", "embed"]
    if pooling in _POOLED:
        flags += ["--pooler-config", json.dumps({"seq_pooling_type": _POOLED[pooling]})]
    return flags


def _of_a_cpu(users: Collection[str]) -> list[str]:
    """Return flags for a processor, without those that the user sets."""
    flags = [] if "--block-size" in users else ["--block-size", str(_CPU_BLOCK_TOKENS)]
    if "--enable-chunked-prefill" not in users:
        # Where a prompt is read in parts the engine takes back what it drew at the end of each, and
        # ends: the generators of a CPU, which draws with a seed need, cannot be turned back.
        flags.append("--no-enable-chunked-prefill")
    return flags


def inherited() -> dict[str, str]:
    """Return the variables of this process that reach the engine."""
    return clean_environment(also=[f"{VARIABLES}*"])


def engine_environment(
    device: Device, api_key: str, *, cores: int, given: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables the engine gets on top of a clean environment.

    Args:
        device: What it computes on.
        api_key: The key that requests must carry; the environment keeps it off the command line.
        cores: Processor cores this process may use.
        given: Variables that are set already; the user's own choices among them stay.
    """
    variables = {
        KEY: api_key,
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
    }
    # They would listen, and ask for no key, where the machine's name leads: mostly on the network.
    variables |= {name: _LOOPBACK for name in _INTERFACES if name not in given}
    if device.kind == "cpu":
        # On processors with AMX vLLM would round activations to 8 bits in quantized layers alone:
        # another experiment than the weight-only one, and one that differs between machines.
        variables["VLLM_CPU_INT4_W4A8"] = "0"
        if "TORCHDYNAMO_DISABLE" not in given:
            # Eager or not, vLLM has torch compile what counts ranks, with a C++ compiler, and for
            # 15 seconds, when it is first asked for likelihoods. It counts the same without.
            variables["TORCHDYNAMO_DISABLE"] = "1"
        if cores <= 2:
            # With one core for the engine a worker of its own only costs a third of the start.
            # Without one vLLM leaves no core to whoever asks: two threads that spin while they
            # wait for each other then take up to ten times as long as the one it would compute on.
            of_one = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": "1"}
            variables |= {name: value for name, value in of_one.items() if name not in given}
    return variables


def kv_cache_bytes(
    config: Mapping[str, Any], spec: ServingSpec, concurrency: int, free_memory_bytes: int
) -> int:
    """Return the bytes of key-value cache that a CPU server needs, bounded by the free memory.

    Every request in flight gets room for a whole window, twice over, so that shared prompt
    beginnings stay cached. A token takes 2 (key, value) x layers x key-value heads x head size x
    bytes a number; models whose config does not say that get the bound.

    Args:
        config: The model's config.json.
        spec: How the model is served.
        concurrency: Requests in flight.
        free_memory_bytes: Main memory that nobody uses now.
    """
    bound = max(_in_steps(int(free_memory_bytes * _CPU_MEMORY_FRACTION)), _GIBIBYTE // 4)
    try:
        heads = config["num_attention_heads"]
        head_size = config.get("head_dim") or config["hidden_size"] // heads
        kv_heads = config.get("num_key_value_heads") or heads
        window = spec.max_model_len or config["max_position_embeddings"]
        layers = config["num_hidden_layers"]
    except (KeyError, TypeError):
        return bound
    stored = _stored(config) if spec.dtype == "auto" else None
    width = 4 if "float32" in (spec.dtype, stored) else 2
    tokens = 2 * concurrency * (window + _CPU_BLOCK_TOKENS)
    needed = int(2 * layers * kv_heads * head_size * width * tokens)
    return min(max(needed, _GIBIBYTE // 4), bound)


def _in_steps(size: int) -> int:
    """Round down to a quarter of a power of two.

    What is free is never the same twice: to the byte no two servers would have the same cache, and
    no timing of one could be taken for the other's.
    """
    step: int = 2 ** max(size.bit_length() - 3, 0)
    return size // step * step


def _config(model: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((model / "config.json").read_text(encoding="utf-8"))
    return loaded
