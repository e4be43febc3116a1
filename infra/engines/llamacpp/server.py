"""llama.cpp's server as a subprocess, for as long as a `with` block; see `infra.engines.live`."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from infra.contracts.capability import Capability
from infra.contracts.progress import Progress
from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.engines import live
from infra.engines.endpoint import Footprint
from infra.engines.live import Described, LiveServer, Manner
from infra.engines.llamacpp import log as llamacpp_log
from infra.engines.llamacpp.command import build_command, engine_environment, inherited
from infra.engines.llamacpp.diagnosis import TABLE
from infra.engines.llamacpp.metrics import NAMES
from infra.engines.llamacpp.verification import verify
from infra.machine import ports
from infra.machine.cores import count as count_cores
from infra.machine.device import Device
from infra.machine.leases import Lease
from infra.models.chat_template import has_chat_template

CAN = frozenset([Capability.COMPLETIONS, Capability.TOKEN_PROMPTS, Capability.FORCED_LOGPROBS])
"""It ignores `echo` without a word, and knows no log-probabilities of a prompt."""


def _window(model: Any, models: object) -> int | None:
    window = (model.get("meta") or {}).get("n_ctx")
    return window if isinstance(window, int) else None


MANNER = Manner(
    name="llamacpp",
    names=NAMES,
    table=TABLE,
    can=CAN,
    stage=lambda log: "loading the model",
    window=_window,
    verify=verify,
    described=lambda text: Described(None, None, llamacpp_log.version(text)),
    footprint=lambda text: Footprint(None, None),
)

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
    log: Path,
    progress: Progress,
    lease: Lease | None = None,
) -> Iterator[LiveServer]:
    """Serve a folder with a GGUF file while the block runs; afterwards no process of it is left.

    Args:
        path: Folder of the model.
        arm: Which arm it is, for names and messages.
        spec: How to serve.
        concurrency: Questions that shall fit at a time; None leaves that to us.
        environment: Interpreter with the engine, or a program `llama-server`.
        device: What to compute on.
        log: File that receives the engine's output; overwritten.
        progress: Hears the stage at least every two seconds.
        lease: The accelerators to use.

    Raises:
        ServerError: It did not come up, not as the evaluation needs it, or ended in the block.
    """
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
        cores=count_cores(),
        free_memory_bytes=psutil.virtual_memory().available,
    )
    given = {**inherited(), **spec.variables}
    with serve_command(
        command,
        env=given | engine_environment(key, given=given),
        port=port,
        served_name=name,
        api_key=key,
        chat=has_chat_template(path),
        concurrency=concurrency,
        device_name=device.name,
        timeout_seconds=spec.startup_timeout_seconds,
        hang_seconds=spec.hang_timeout_seconds,
        log=log,
        progress=progress,
        lease=lease,
    ) as server:
        yield server
