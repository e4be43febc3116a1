"""vLLM as a subprocess, for as long as a `with` block: started, watched, verified, ended whole.

The server listens on loopback, on a free port, under a name and with a key made for this one
start, so that neither we nor anybody else can take another server for it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import psutil
from pydantic import SecretStr

from infra.contracts.capability import Capability
from infra.contracts.errors import (
    RequestFailed,
    ServerDied,
    ServerError,
    ServerHung,
    ServerUnverified,
)
from infra.contracts.progress import Progress
from infra.contracts.records import Adjustment, PythonEnvironment, ServerRecord
from infra.contracts.specs import ServingSpec
from infra.engines.connection import connect
from infra.engines.endpoint import Footprint
from infra.engines.load import Load
from infra.engines.load import ask as ask_load
from infra.engines.vllm import log as vllm_log
from infra.engines.vllm.command import (
    DEFAULT_LOGPROBS,
    build_command,
    engine_environment,
    inherited,
)
from infra.engines.vllm.diagnosis.adjusting import adjusting
from infra.engines.vllm.diagnosis.messages import died, explained, hung, not_ready
from infra.engines.vllm.metrics import NAMES
from infra.engines.vllm.verification import list_models, verify
from infra.engines.watchdog import Watchdog
from infra.machine import ports
from infra.machine.device import Device
from infra.machine.leases import Lease
from infra.machine.processes import Child, start
from infra.machine.ticker import Ticker
from infra.models.chat_template import has_chat_template

_POLL_SECONDS = 0.25
_FIRST_ANSWER_SECONDS = 60.0
"""The first question may take this long, even if the start used up its time."""
_HEARTBEAT_SECONDS = 2.0
_HEALTH_SECONDS = 10.0
_CAN = frozenset(set(Capability) - {Capability.CHAT})
"""What every model can that it serves; a chat takes a template besides."""
_LAST_WORDS_SECONDS = 15.0
"""A server whose engine died answers with errors for a while before it ends itself."""


@dataclass(frozen=True)
class LiveServer:
    """A server that was seen to answer as the evaluation needs it."""

    base_url: str
    """`http://127.0.0.1:<port>/v1`"""

    api_key: SecretStr
    """Bearer token of every request below `/v1`."""

    model: str
    """The only name under which the model answers."""

    window: int
    """Tokens of prompt and answer together."""

    can: frozenset[Capability]
    """What it was seen to answer, or every engine of its kind does."""

    record: ServerRecord
    _child: Child = field(repr=False)
    _watchdog: Watchdog = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What each request carries."""
        return {"Authorization": f"Bearer {self.api_key.get_secret_value()}"}

    def alive(self) -> bool:
        """Tell whether the engine still runs."""
        return self._child.poll() is None

    def healthy(self, seconds: float) -> bool:
        """Tell whether it answers in time, and thinks that its engine lives."""
        root = self.base_url.removesuffix("/v1")
        try:
            with connect(root, {}, seconds=seconds) as client:
                return client.get("/health").is_success
        except httpx.HTTPError:
            return False

    def load(self) -> Load | None:
        """Return what it has to do; none if it does not say now."""
        return ask_load(self.base_url.removesuffix("/v1"), self.headers, [NAMES])

    def raise_if_dead(self) -> None:
        """Raise if the engine has ended, or computes nothing any more.

        Raises:
            ServerDied: With its exit code and the tail of its log.
            ServerHung: It lives.
        """
        if (code := self._child.poll()) is not None:
            raise died(self._child.log, code)
        if self._watchdog.hung:
            raise hung(self._child.log)

    def raise_if_failing(self) -> None:
        """Raise if the engine has ended or hangs; give one that says that it ends the time to.

        Raises:
            ServerDied: With its exit code and the tail of its log.
            ServerHung: It lives.
        """
        deadline = time.monotonic() + _LAST_WORDS_SECONDS
        self.raise_if_dead()
        while not self.healthy(_HEALTH_SECONDS) and time.monotonic() < deadline:
            self.raise_if_dead()
            time.sleep(_POLL_SECONDS)
        self.raise_if_dead()

    def footprint(self) -> Footprint:
        """Return what the engine's log says of memory."""
        text = self._child.log.read_text(encoding="utf-8", errors="replace")
        return Footprint(vllm_log.weights_bytes(text), vllm_log.kv_cache_tokens(text))


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
            free_memory_bytes=psutil.virtual_memory().available,
        )
        env = inherited() | spec.variables
        env |= engine_environment(device, key, cores=len(os.sched_getaffinity(0)), given=env)
        gpus = spec.tensor_parallel_size
        with serve_command(
            command,
            env=env,
            port=port,
            served_name=name,
            api_key=key,
            chat=has_chat_template(path),
            concurrency=concurrency,
            device_name=device.name if gpus == 1 else f"{gpus} x {device.name}",
            timeout_seconds=spec.startup_timeout_seconds,
            hang_seconds=spec.hang_timeout_seconds,
            log=log,
            progress=progress,
            lease=lease,
        ) as server:
            record = server.record.model_copy(update={"adjustments": adjustments})
            yield replace(server, record=record)

    with adjusting(spec, once, progress) as server:
        yield server


@contextlib.contextmanager
def serve_command(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    port: int,
    served_name: str,
    api_key: str,
    chat: bool,
    concurrency: int | None,
    device_name: str,
    timeout_seconds: float,
    hang_seconds: float = 300.0,
    log: Path,
    progress: Progress,
    lease: Lease | None = None,
) -> Iterator[LiveServer]:
    """Run a command that should become an OpenAI-compatible server, see `serve`."""
    started = time.monotonic()
    deadline = started + timeout_seconds
    root = f"http://127.0.0.1:{port}"

    def news() -> None:
        seconds = int(time.monotonic() - started)
        progress.update(f"{served_name}: {vllm_log.stage(log)}", seconds, None, "s")

    with start(command, log=log, env=env, lease=lease) as child:
        with (
            Ticker(_HEARTBEAT_SECONDS, news),
            httpx.Client(
                base_url=root, headers={"Authorization": f"Bearer {api_key}"}, trust_env=False
            ) as client,
        ):
            model = _await_ready(child, client, port, served_name, deadline)
            client.timeout = httpx.Timeout(max(deadline - time.monotonic(), _FIRST_ANSWER_SECONDS))
            try:
                version = verify(client, served_name, chat=chat)
            except ServerUnverified as error:
                if (code := child.wait(1)) is not None:
                    raise died(child.log, code) from error
                raise explained(error, child.log) from None
        startup_seconds = time.monotonic() - started
        progress.say(f"{served_name} is ready after {startup_seconds:.0f} s")
        text = log.read_text(encoding="utf-8", errors="replace")
        record = ServerRecord(
            version=version,
            command=tuple(command),
            device=device_name,
            kernel=vllm_log.kernel(text),
            dtype=vllm_log.dtype(text),
            max_model_len=model["max_model_len"],
            concurrency=concurrency,
            startup_seconds=round(startup_seconds, 2),
            log=str(log),
        )
        with Watchdog(root, served_name, api_key, [NAMES], limit_seconds=hang_seconds) as watchdog:
            server = LiveServer(
                base_url=f"{root}/v1",
                api_key=SecretStr(api_key),
                model=served_name,
                window=record.max_model_len,
                can=_CAN | {Capability.CHAT} if chat else _CAN,
                record=record,
                _child=child,
                _watchdog=watchdog,
            )
            try:
                yield server
            except (ServerDied, ServerHung):
                raise
            except Exception as error:
                # Whoever talks to a dead server sees only a closed connection, or an answer
                # that tells of an engine that is about to end.
                unanswered = _unanswered(error)
                child.wait(_LAST_WORDS_SECONDS if unanswered else 1)
                with _because_of(error):
                    server.raise_if_dead()
                    if unanswered and not server.healthy(_FIRST_ANSWER_SECONDS):
                        raise hung(child.log) from error
                raise


def _unanswered(error: Exception) -> bool:
    """Tell whether it was the server that failed, not the request."""
    if isinstance(error, ServerError):
        return True
    if not isinstance(error, RequestFailed):
        return False
    return error.status is None or error.status >= httpx.codes.INTERNAL_SERVER_ERROR


@contextlib.contextmanager
def _because_of(seen: Exception) -> Iterator[None]:
    """Raise what explains more from what was seen."""
    try:
        yield
    except ServerError as error:
        raise error from seen


def _await_ready(
    child: Child, client: httpx.Client, port: int, served_name: str, deadline: float
) -> dict[str, Any]:
    """Wait until our server lists our model, and return its entry."""
    while True:
        if (code := child.poll()) is not None:
            raise died(child.log, code)
        models = list_models(client)
        if models is not None:
            for model in models:
                if model.get("id") == served_name and isinstance(model.get("max_model_len"), int):
                    return model
            raise _another(child, port, served_name, models)
        if time.monotonic() > deadline:
            raise not_ready(child.log)
        child.wait(_POLL_SECONDS)


def _another(
    child: Child, port: int, served_name: str, models: list[dict[str, Any]]
) -> ServerError:
    names = ", ".join(str(model.get("id")) for model in models) or "nothing we may see"
    listener = ports.listener(port)
    if listener and any(parent.pid == child.pid for parent in listener.parents()):
        return ServerUnverified(
            f"The server does not serve {served_name}, but {names}.",
            cause="serving.extra_args changes what is served, or the engine speaks another way.",
            remedy="Take such arguments out of serving.extra_args.",
        )
    fact = f"The server that answers on port {port} is not ours: it lists {names}."
    return ports.taken(port, fact)
