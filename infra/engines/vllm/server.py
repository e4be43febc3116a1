"""vLLM as a subprocess, for as long as a `with` block; see `infra.engines.live`."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from infra.contracts.capability import Capability
from infra.contracts.progress import Progress
from infra.contracts.records import Adapter, Adjustment, PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.contracts.specs.embedding import Pooling
from infra.engines import live
from infra.engines.endpoint import Footprint
from infra.engines.live import Described, LiveServer, Manner
from infra.engines.vllm import log as vllm_log
from infra.engines.vllm.command import (
    DEFAULT_LOGPROBS,
    KEY,
    SERVER,
    build_command,
    dtype,
    engine_environment,
    inherited,
)
from infra.engines.vllm.diagnosis.adjusting import adjusting
from infra.engines.vllm.diagnosis.table import TABLE
from infra.engines.vllm.kept import kept
from infra.engines.vllm.metrics import NAMES
from infra.engines.vllm.verification import verify, verify_vectors
from infra.machine import ports
from infra.machine.cores import count as count_cores
from infra.machine.device import Device
from infra.machine.leases import Lease
from infra.machine.preloaded import Preloading
from infra.models.chat_template import has_chat_template

_LOADER = Path(__file__).with_name("loaded.py")


def _window(model: Mapping[str, Any], models: Sequence[Mapping[str, Any]]) -> int | None:
    """Return what a model says, or the one that it is an adapter of."""
    entries = [model, *(one for one in models if one.get("id") == model.get("parent"))]
    return next((one["max_model_len"] for one in entries if one.get("max_model_len")), None)


MANNER = Manner(
    name="vllm",
    names=NAMES,
    table=TABLE,
    can=frozenset(set(Capability) - {Capability.CHAT}),
    stage=vllm_log.stage,
    window=_window,
    verify=verify,
    described=lambda log: Described(vllm_log.kernel(log), vllm_log.dtype(log)),
    footprint=lambda log: Footprint(vllm_log.weights_bytes(log), vllm_log.kv_cache_tokens(log)),
)

EMBEDDING = replace(
    MANNER,
    can=frozenset(),
    verify=verify_vectors,
    question=("/v1/embeddings", {"input": "a"}),
)
"""Of servers that make vectors of texts."""

serve_command = partial(live.serve_command, manner=MANNER)


@contextlib.contextmanager
def serve(
    path: Path,
    *,
    arm: str,
    spec: ServingSpec,
    concurrency: int | None,
    environment: PythonEnvironment,
    device: Device,
    trust_remote_code: bool,
    log: Path,
    progress: Progress,
    lease: Lease | None = None,
    logprobs: int = DEFAULT_LOGPROBS,
    adapter: Adapter | None = None,
    pooling: Pooling | None = None,
    tool_parser: str | None = None,
) -> Iterator[LiveServer]:
    """Serve a model folder with vLLM while the block runs; afterwards no process of it is left.

    Args:
        path: Folder of the model.
        arm: Which arm it is, for names and messages.
        spec: How to serve.
        concurrency: Questions that shall fit at a time; None leaves that to the engine.
        environment: Interpreter with vLLM.
        device: What to compute on.
        trust_remote_code: Run code that comes with the model.
        log: File that receives the engine's output; overwritten.
        progress: Hears the stage at least every two seconds.
        lease: The accelerators to use. Without one the server may disturb others.
        logprobs: Likeliest tokens that a question may ask for at each position.
        adapter: What to apply beside the model's weights.
        pooling: Make vectors of texts, pooled so; none for a server that writes texts.
        tool_parser: What reads calls of functions out of answers; none where none are asked for.

    Raises:
        PortTaken: Another process listens on the port.
        ServerDied: The engine ended by itself, before or during the block.
        ServerHung: The block failed while the engine computed nothing any more.
        ServerNotReady: `spec.startup_timeout_seconds` passed first.
        ServerUnverified: It answers, but not as the evaluation needs.
    """

    @contextlib.contextmanager
    def once(spec: ServingSpec, adjustments: tuple[Adjustment, ...]) -> Iterator[LiveServer]:
        port = spec.port or ports.find_free()
        ports.refuse_taken(port)
        name = f"{arm}-{secrets.token_hex(6)}"
        key = secrets.token_urlsafe(32)
        command = build_command(
            python=environment.python,
            model=path,
            served_name=name,
            port=port,
            spec=spec,
            device=device,
            concurrency=concurrency,
            trust_remote_code=trust_remote_code,
            logprobs=logprobs,
            adapter=adapter,
            pooling=pooling,
            tool_parser=tool_parser,
            free_memory_bytes=psutil.virtual_memory().available,
            cores=count_cores(),
        )
        if pooling is None and (computed := dtype(path, spec, device)) != spec.dtype:
            progress.say(
                f"{arm} is served in {computed}: {device.name} has no instructions for float16, "
                "the type of its weights; serving.dtype=float16 does without, several times slower"
            )
        env = _environment(spec, device, key)
        gpus = spec.tensor_parallel_size
        start = partial(serve_command, manner=EMBEDDING) if pooling else serve_command
        with (
            kept(environment, env) as places,
            start(
                command,
                env=env | places,
                port=port,
                served_name=name,
                api_key=key,
                chat=pooling is None and has_chat_template(path),
                concurrency=concurrency,
                device_name=device.name if gpus == 1 else f"{gpus} x {device.name}",
                timeout_seconds=spec.startup_timeout_seconds,
                hang_seconds=spec.hang_timeout_seconds,
                log=log,
                progress=progress,
                lease=lease,
                loads=loader(environment.python, path),
                arguments=command[command.index(SERVER) + 1 :],
                secrets=[KEY],
            ) as server,
        ):
            found = {"adjustments": adjustments, "tool_parser": tool_parser}
            can = server.can if tool_parser else server.can - {Capability.TOOLS}
            yield replace(server, record=server.record.model_copy(update=found), can=can)

    with adjusting(spec, once, progress) as server:
        yield server


def load_ahead(
    ahead: Preloading,
    model: Path,
    *,
    spec: ServingSpec,
    environment: PythonEnvironment,
    device: Device,
    log: Path,
) -> None:
    """Have vLLM loaded for a server that will be wanted soon; see `infra.machine.preloaded`.

    Args:
        ahead: What the run has loaded.
        model: A folder with the config.json of the model.
        spec: How it will be served.
        environment: Interpreter with vLLM.
        device: What to compute on.
        log: File that receives what is printed meanwhile.
    """
    env = _environment(spec, device, "")
    del env[KEY]
    with kept(environment, env) as places:
        ahead.begin(loader(environment.python, model), env=env | places, log=log)


def loader(python: Path, model: Path) -> list[str]:
    """Return the program and the arguments that load vLLM for a model.

    What is wrong with its config.json the engine says, when it serves it.
    """
    named: list[str] = []
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        named = [name for name in config["architectures"] if isinstance(name, str)]
    return [str(python), "-I", "-u", str(_LOADER), *named]


def _environment(spec: ServingSpec, device: Device, key: str) -> dict[str, str]:
    env = inherited() | spec.variables
    return env | engine_environment(device, key, cores=count_cores(), given=env)
