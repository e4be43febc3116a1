"""How each failure of the engine's table is provoked, by the name of the log that is kept of it.

The part of a name before `--` is that of the diagnosis.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.failing_engine import UP, Engine, Stage, kill_when, tools_of_engines

_HUGE = {"vocab_size": 2**26, "hidden_size": 2**14, "num_attention_heads": 256}
"""Sizes of an embedding that no machine has room for."""
_AWQ = {"quant_method": "awq", "bits": 4, "group_size": 64, "zero_point": True, "version": "gemm"}
_OWN_CODE = {
    "architectures": ["OwnForCausalLM"],
    "model_type": "own",
    "auto_map": {
        "AutoConfig": "configuration_own.OwnConfig",
        "AutoModelForCausalLM": "modeling_own.OwnForCausalLM",
    },
}


def _port_taken(stage: Stage) -> int:
    with socket.create_server(("127.0.0.1", stage.port)):
        return stage.serve()


def _config(change: Callable[[Path], object]) -> Callable[[Stage], int]:
    """Change config.json once the command is made: Assay itself reads the file for that."""

    def run(stage: Stage) -> int:
        model = stage.sample()
        return stage.serve(model, meanwhile=lambda engine, stage: change(model / "config.json"))

    return run


def _file(name: str, change: Callable[[Path], object]) -> Callable[[Stage], int]:
    def run(stage: Stage) -> int:
        model = stage.sample()
        change(model / name)
        return stage.serve(model)

    return run


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def _unheard_tokenizer(path: Path) -> None:
    _json(path, lambda content: content["model"].update(type="Unheard"))


def _chat_template(stage: Stage) -> int:
    def ask(engine: Engine, stage: Stage) -> None:
        if stage.wait_for(UP, engine):
            httpx.post(
                f"http://127.0.0.1:{stage.port}/v1/chat/completions",
                json={"model": "sample", "messages": [{"role": "user", "content": "x"}]},
                headers={"Authorization": "Bearer unused"}, trust_env=False, timeout=60,
            )  # fmt: skip
            engine.terminate()

    model = stage.sample()
    broken = {"chat_template": "{% for message in messages %}{{ "}
    _json(model / "tokenizer_config.json", lambda content: content.update(broken))
    return stage.serve(model, meanwhile=ask)


def _without_compiler(stage: Stage) -> int:
    cache = str(stage.folder / "inductor")
    env = {"PATH": tools_of_engines(stage.folder), "TORCHINDUCTOR_CACHE_DIR": cache}
    return stage.serve(compiled=True, env=env | {"VLLM_CACHE_ROOT": str(stage.folder / "vllm")})


def _disk_full(stage: Stage) -> int:
    full = stage.folder / "full"
    full.mkdir()
    places = ("TMPDIR", "HOME", "XDG_CACHE_HOME", "VLLM_CACHE_ROOT")
    fill = f"mount -t tmpfs -o size=4k tmpfs {full} && head -c 4096 /dev/zero > {full}/filled"
    return stage.serve(
        compiled=True, prefix=stage.where(fill), env=dict.fromkeys(places, str(full))
    )


def _arguments(*extra: str, **options: Any) -> Callable[[Stage], int]:
    return lambda stage: stage.serve(extra_args=extra, **options)


def _spec(**spec: Any) -> Callable[[Stage], int]:
    return lambda stage: stage.serve(**spec)


def _model(**config: Any) -> Callable[[Stage], int]:
    return lambda stage: stage.serve(stage.sample(**config))


def _quantized(**fields: Any) -> Callable[[Stage], int]:
    return _model(quantization_config=fields)


CASES: dict[str, Callable[[Stage], int]] = {
    "kv-cache-too-small": _arguments("--kv-cache-memory-bytes", "4000000"),
    "kv-cache-too-small--worker": _arguments("--kv-cache-memory-bytes", "5000000", own_worker=True),
    "no-memory-for-cache": _spec(memory_fraction=0.0001),
    "no-memory-for-cache--blocks": _arguments("--kv-cache-memory-bytes", "1000"),
    "memory-fraction-refused": _spec(memory_fraction=1.0),
    "weights-do-not-fit": _model(**_HUGE),
    "weights-do-not-fit--worker": lambda stage: stage.serve(stage.sample(**_HUGE), own_worker=True),
    "no-memory-for-batches": _arguments(
        "--max-num-batched-tokens", "60000000", memory_fraction=0.2
    ),
    "no-memory-for-batches--trial": _arguments(
        "--max-num-batched-tokens",
        "1000000",
        memory_fraction=0.2,
        prefix=["prlimit", "--as=4000000000"],
    ),
    "killed": _spec(meanwhile=kill_when("Resolved architecture", inner=False)),
    "engine-process-killed": _spec(meanwhile=kill_when("Initializing a V1", inner=True)),
    "engine-process-killed--serving": _spec(meanwhile=kill_when(UP, inner=True)),
    "quantization-unsupported": _quantized(quant_method="bitsandbytes", load_in_4bit=True),
    "quantization-unsupported--bits": _quantized(**_AWQ | {"bits": 3}),
    "quantization-unsupported--gptq": _quantized(
        quant_method="gptq", bits=2, group_size=64, desc_act=True, sym=False
    ),
    "dtype-unsupported": lambda stage: stage.serve(
        stage.sample(quantization_config=_AWQ), dtype="float32"
    ),
    "port-taken": _port_taken,
    "no-config": _config(Path.unlink),
    "config-unreadable": _config(_cut),
    "no-weights": _file("model.safetensors", Path.unlink),
    "weights-unreadable": _file("model.safetensors", _cut),
    "weights-of-another-shape": _model(intermediate_size=768),
    "weights-of-another-shape--layers": _model(num_hidden_layers=4, max_window_layers=4),
    "architecture-unknown": _model(architectures=["Qwen9ForCausalLM"]),
    "architecture-unknown--kind": _model(architectures=["Qwen9ForCausalLM"], model_type="qwen9"),
    "remote-code-needed": _model(**_OWN_CODE),
    "window-too-long": _spec(max_model_len=4096),
    "tokenizer-unreadable": _file("tokenizer.json", _cut),
    "tokenizer-unreadable--kind": _file("tokenizer.json", _unheard_tokenizer),
    "chat-template-broken": _chat_template,
    "argument-unknown": _arguments("--max-num-sequences", "64"),
    "argument-invalid": _arguments("--max-num-seqs", "many"),
    "argument-invalid--choice": _arguments("--kv-cache-dtype", "int3"),
    "argument-invalid--block-size": _arguments("--block-size", "7"),
    "heads-not-divisible": _spec(device="auto", tensor_parallel_size=3),
    "too-few-devices": _spec(device="auto", tensor_parallel_size=2),
    "library-broken": lambda stage: stage.serve(prefix=stage.without("torch/lib/libtorch_cpu.so")),
    "library-broken--package": lambda stage: stage.serve(prefix=stage.without("transformers")),
    "library-broken--engine": lambda stage: stage.serve(prefix=stage.without("vllm")),
    "shared-memory-too-small": lambda stage: stage.serve(
        prefix=stage.where("mount -t tmpfs -o size=1m tmpfs /dev/shm"), own_worker=True
    ),
    "compilation-failed": _without_compiler,
    "too-many-open-files": _spec(prefix=["prlimit", "--nofile=24:24"]),
    "disk-full": _disk_full,
}


def _taken_meanwhile(stage: Stage) -> int:
    """Have another program take the rest of the GPU once the engine answers, and ask for much."""

    def take(engine: Engine, stage: Stage) -> None:
        if not stage.wait_for(UP, engine):
            return
        with subprocess.Popen(
            [str(stage.python), "-I", "-W", "ignore", "-c", _TAKE_ALL],
            stdout=subprocess.PIPE, text=True,
        ) as other:  # fmt: skip
            assert other.stdout
            other.stdout.readline()
            with contextlib.suppress(httpx.HTTPError):
                httpx.post(
                    f"http://127.0.0.1:{stage.port}/v1/completions",
                    json={
                        "model": "sample", "prompt": [[7] * 1024] * 64, "max_tokens": 64,
                        "prompt_logprobs": 20,
                    },
                    headers={"Authorization": "Bearer unused"}, trust_env=False, timeout=60,
                )  # fmt: skip
            other.kill()

    return stage.serve(meanwhile=take, **_ON_CUDA)


_TAKE_ALL = """
import time, torch
held, size = [], 2**30
while size >= 2**20:
    try:
        held.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
    except torch.OutOfMemoryError:
        size //= 2
print("all taken", flush=True)
time.sleep(600)
"""

_ON_CUDA: dict[str, Any] = {
    "device": "cuda", "memory_fraction": 0.1, "enforce_eager": True, "own_worker": True,
}  # fmt: skip
_LARGE = _ON_CUDA | {"memory_fraction": 0.9}

ON_CUDA: dict[str, Callable[[Stage], int]] = {
    "kv-cache-too-small--cuda": _arguments("--kv-cache-memory-bytes", "4000000", **_ON_CUDA),
    "no-memory-for-cache--cuda": _spec(**_ON_CUDA | {"memory_fraction": 0.0001}),
    "window-too-long--cuda": _spec(max_model_len=4096, **_ON_CUDA),
    "dtype-unsupported--cuda": lambda stage: stage.serve(
        stage.sample(quantization_config=_AWQ), dtype="float32", **_ON_CUDA
    ),
    "too-few-devices--cuda": _spec(tensor_parallel_size=8, **_ON_CUDA),
    "engine-process-killed--cuda": _spec(
        meanwhile=kill_when("Initializing a V1", inner=True), **_ON_CUDA
    ),
    "memory-fraction-refused--cuda": _spec(**_ON_CUDA | {"memory_fraction": 1.0}),
    "weights-do-not-fit--cuda": lambda stage: stage.serve(stage.sample(**_HUGE), **_LARGE),
    "no-memory-for-batches--cuda": _arguments("--max-num-batched-tokens", "100000000", **_LARGE),
    "no-memory-for-batches--answering": _taken_meanwhile,
    "cache-needs-bfloat16": _arguments("--kv-cache-dtype", "fp8", dtype="float16", **_ON_CUDA),
}
"""What a GPU shows; the last one an H100 or H200 alone."""
