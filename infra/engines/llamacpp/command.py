"""The command line and the environment of llama.cpp's server: pure functions of the spec."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.contracts.specs import ServingSpec
from infra.engines.llamacpp.program import beginning
from infra.machine.device import Device
from infra.machine.processes import clean_environment
from infra.models.gguf_file import find

VARIABLES = "LLAMA_"
"""Its own variables begin so."""

_VARIABLES = ("LLAMA_*", "GGML_*")

WEIGHTS = "model.gguf"
"""What the file with the weights is called where Assay made it, and people are told of it."""

SLOTS = 4
"""Sequences computed at a time by default: what llama-server itself takes."""

_HTTP_THREADS = 192
"""Each open connection holds one. As many questions may wait as the scoring client begins with, and
whoever looks at the metrics must still be answered."""

_MEMORY_SHARE = 0.3
"""Of the free main memory, for the key-value cache."""

_WIDTHS = {"f32": 4, "f16": 2, "bf16": 2}


def build_command(
    *,
    python: Path,
    model: Path,
    served_name: str,
    port: int,
    spec: ServingSpec,
    device: Device,
    concurrency: int | None,
    cores: int,
    free_memory_bytes: int,
) -> tuple[str, ...]:
    """Return the command that serves a model folder. It holds no secret.

    Args:
        python: Interpreter with the package, or a program `llama-server`.
        model: Folder with one GGUF file, beside the model's configuration and tokenizer.
        served_name: The only name under which the model answers.
        port: Port on loopback.
        spec: How the model is served.
        device: What to compute on.
        concurrency: Questions that shall fit at a time; None leaves that to us.
        cores: Processor cores this process may use.
        free_memory_bytes: Main memory that nobody uses now.
    """
    command = [
        *beginning(python),
        "--model",
        str(find(model) or model / WEIGHTS),
        "--alias",
        served_name,
    ]
    command += ["--host", "127.0.0.1", "--port", str(port), "--offline", "--no-webui", "--no-slots"]
    command += ["--metrics", "--threads-http", str(_HTTP_THREADS)]
    # Errors alone: of every question it would say what became of it.
    command += ["--verbosity", "1"]
    config = _config(model)
    if window := spec.max_model_len or _window(config):
        slots = concurrency or slots_that_fit(config, window, cache_type(spec), free_memory_bytes)
        # The context is shared out evenly among the slots.
        command += ["--ctx-size", str(window * slots), "--parallel", str(slots)]
    else:
        command += ["--parallel", "1"]
    # It would fit the context to the memory by itself, and answer with another window than asked.
    command += ["--fit", "off", "--no-context-shift"]
    command += numbers(spec)
    # What it keeps of finished prompts besides its slots takes 8 GiB by default.
    command += ["--cache-ram", "0"]
    command += ["--threads", str(cores), "--threads-batch", str(cores)]
    if device.kind == "cpu":
        command += ["--n-gpu-layers", "0"]
    # Its own defaults are for chatting: temperature 0.8, of the 40 likeliest.
    command += ["--seed", "0", "--temp", "0", "--top-k", "0", "--top-p", "1", "--min-p", "0"]
    return (*command, *spec.extra_args)


def cache_type(spec: ServingSpec) -> str:
    """Return the type of numbers in the key-value cache."""
    return {"float32": "f32", "bfloat16": "bf16"}.get(spec.dtype, "f16")


def numbers(spec: ServingSpec) -> list[str]:
    """Return the flags that say in which numbers is computed."""
    kind = cache_type(spec)
    flags = ["--cache-type-k", kind, "--cache-type-v", kind]
    # Flash attention rounds to 16 bits, whatever the cache holds.
    return [*flags, "--flash-attn", "off"] if kind == "f32" else flags


def inherited() -> dict[str, str]:
    """Return the variables of this process that reach the engine."""
    return {
        name: value
        for name, value in clean_environment(also=_VARIABLES).items()
        # They would be further flags, among them those that are set here.
        if not name.startswith("LLAMA_ARG_")
    }


def engine_environment(api_key: str, *, given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables the engine gets on top of a clean environment.

    Args:
        api_key: The key that requests must carry; the environment keeps it off the command line.
        given: Variables that are set already; the user's own choices among them stay.
    """
    variables = {"LLAMA_API_KEY": api_key, "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
    if "OMP_WAIT_POLICY" not in given and "GOMP_SPINCOUNT" not in given:
        # Threads that spin while they wait take the cores from whoever else computes, which costs
        # tens of times more than they gain.
        variables["OMP_WAIT_POLICY"] = "passive"
    return variables


def slots_that_fit(
    config: Mapping[str, Any], window: int, numbers: str, free_memory_bytes: int
) -> int:
    """Return how many windows there is room for, at most `SLOTS` and at least one.

    A token takes 2 (key, value) x layers x key-value heads x head size x bytes a number; a model
    whose config does not say that gets one slot.

    Args:
        config: The model's config.json.
        window: Tokens of one slot.
        numbers: Their type in the cache.
        free_memory_bytes: Main memory that nobody uses now.
    """
    try:
        heads = config["num_attention_heads"]
        head_size = config.get("head_dim") or config["hidden_size"] // heads
        kv_heads = config.get("num_key_value_heads") or heads
        a_token = 2 * config["num_hidden_layers"] * kv_heads * head_size * _WIDTHS[numbers]
    except (KeyError, TypeError):
        return 1
    room: int = int(free_memory_bytes * _MEMORY_SHARE) // (a_token * window)
    return max(1, min(SLOTS, room))


def _window(config: Mapping[str, Any]) -> int | None:
    window = config.get("max_position_embeddings")
    return window if isinstance(window, int) else None


def _config(model: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((model / "config.json").read_text(encoding="utf-8"))
    return loaded
