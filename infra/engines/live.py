"""A server as a subprocess, for as long as a `with` block: started, watched, verified, ended whole.

It listens on loopback, on a free port, under a name and with a key made for this one start, so that
neither we nor anybody else can take another server for it. What differs between engines is their
`Manner`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx
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
from infra.contracts.records import ServerRecord
from infra.engines.answering import list_models
from infra.engines.connection import connect
from infra.engines.diagnosis.messages import died, explained, hung, not_ready
from infra.engines.diagnosis.patterns import Table
from infra.engines.endpoint import Footprint
from infra.engines.load import Load, Names
from infra.engines.load import ask as ask_load
from infra.engines.watchdog import ONE_TOKEN, Watchdog
from infra.machine import ports
from infra.machine.energy import Meter, meter_of
from infra.machine.leases import Lease
from infra.machine.preloaded import begun
from infra.machine.processes import Child
from infra.machine.ticker import Ticker

_POLL_SECONDS = 0.25
_FIRST_POLL_SECONDS = 0.05
_FIRST_ANSWER_SECONDS = 60.0
"""The first question may take this long, even if the start used up its time."""
_HEARTBEAT_SECONDS = 2.0
_HEALTH_SECONDS = 10.0
_LAST_WORDS_SECONDS = 15.0
"""A server whose engine died answers with errors for a while before it ends itself."""


class Described(NamedTuple):
    """What an engine's log says of itself; none where it does not."""

    kernel: str | None
    dtype: str | None
    version: str | None = None
    """In place of what the server answers, where that says less."""


@dataclass(frozen=True)
class Manner:
    """What the servers of one engine do in their own way."""

    name: str
    names: Names
    """What it calls its metrics."""

    table: Table
    """Failures that are recognized."""

    can: frozenset[Capability]
    """What every model can that it serves; a chat takes a template besides."""

    stage: Callable[[Path], str]
    """From its log to what it is doing, in a few words."""

    window: Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]]], int | None]
    """From its entry in the list of models, and that list, to the tokens of prompt and answer
    together."""

    verify: Callable[[httpx.Client, str, bool], str]
    """Asks what the evaluation will ask, of a model by its name, with or without a chat; returns
    the version, or raises `ServerUnverified`."""

    described: Callable[[str], Described]
    """From its log."""

    footprint: Callable[[str], Footprint]
    """From its log."""

    question: tuple[str, Mapping[str, Any]] = ONE_TOKEN
    """Path and body, without the model's name, of the smallest question that makes it compute."""


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
    meter: Meter | None
    """What reads the energy of its accelerators; none without leased ones."""

    _manner: Manner = field(repr=False)
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
        return ask_load(self.base_url.removesuffix("/v1"), self.headers, [self._manner.names])

    def raise_if_dead(self) -> None:
        """Raise if the engine has ended, or computes nothing any more.

        Raises:
            ServerDied: With its exit code and the tail of its log.
            ServerHung: It lives.
        """
        if (code := self._child.poll()) is not None:
            raise died(self._manner.table, self._child.log, code)
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
        return self._manner.footprint(text)


@contextlib.contextmanager
def serve_command(
    command: Sequence[str],
    *,
    manner: Manner,
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
    loads: Sequence[str] = (),
    arguments: Sequence[str] = (),
    secrets: Collection[str] = (),
) -> Iterator[LiveServer]:
    """Run a command that should become an OpenAI-compatible server, while the block runs.

    Args:
        command: Program and arguments; no secret in it.
        manner: Of the engine.
        env: The engine's whole environment.
        port: Where it will listen, on loopback.
        served_name: The only name under which the model answers.
        api_key: What requests have to carry.
        chat: Whether the model has a chat template.
        concurrency: Questions that fit at a time; None where the engine decides that.
        device_name: Accelerator or processor, for the record.
        timeout_seconds: How long it may take until it answers.
        hang_seconds: How long it may compute nothing while requests wait.
        log: File that receives the engine's output; overwritten.
        progress: Hears the stage at least every two seconds.
        lease: The accelerators to use. Without one the server may disturb others.
        loads: What loads for it ahead, and the `arguments` that is told; see `preloaded.begun`.
        arguments: See `loads`.
        secrets: Variables of `env` that nothing is loaded with.

    Raises:
        PortTaken: Another process listens on the port.
        ServerDied: The engine ended by itself, before or during the block.
        ServerHung: The block failed while the engine computed nothing any more.
        ServerNotReady: The time passed first.
        ServerUnverified: It answers, but not as the evaluation needs.
    """
    deadline = time.monotonic() + timeout_seconds
    root = f"http://127.0.0.1:{port}"

    started = time.monotonic()

    def tell(doing: str) -> None:
        progress.update(f"{served_name}: {doing}", int(time.monotonic() - started), None, "s")

    with begun(
        loads, command, arguments, env=env, secrets=secrets, log=log, lease=lease,
        on_wait=lambda: tell("loading"),
    ) as (child, loaded_seconds):  # fmt: skip
        # What an engine takes to start is its own time, whenever it was spent.
        started = time.monotonic() - loaded_seconds
        with (
            Ticker(_HEARTBEAT_SECONDS, lambda: tell(manner.stage(log))),
            httpx.Client(
                base_url=root, headers={"Authorization": f"Bearer {api_key}"}, trust_env=False
            ) as client,
        ):
            window = _await_ready(child, manner, client, port, served_name, deadline)
            client.timeout = httpx.Timeout(max(deadline - time.monotonic(), _FIRST_ANSWER_SECONDS))
            try:
                version = manner.verify(client, served_name, chat)
            except ServerUnverified as error:
                if (code := child.wait(1)) is not None:
                    raise died(manner.table, child.log, code) from error
                raise explained(manner.table, error, child.log) from None
        startup_seconds = time.monotonic() - started
        progress.say(f"{served_name} is ready after {startup_seconds:.0f} s")
        described = manner.described(log.read_text(encoding="utf-8", errors="replace"))
        record = ServerRecord(
            engine=manner.name,
            version=described.version or version,
            command=tuple(command),
            device=device_name,
            kernel=described.kernel,
            dtype=described.dtype,
            max_model_len=window,
            concurrency=concurrency,
            startup_seconds=round(startup_seconds, 2),
            log=str(log),
        )
        with Watchdog(
            root,
            served_name,
            api_key,
            [manner.names],
            limit_seconds=hang_seconds,
            question=manner.question,
        ) as watchdog:
            server = LiveServer(
                base_url=f"{root}/v1",
                api_key=SecretStr(api_key),
                model=served_name,
                window=window,
                can=manner.can | {Capability.CHAT} if chat else manner.can,
                record=record,
                meter=meter_of(
                    lease.slots if lease else None,
                    lambda: [process.pid for process in child.survivors()],
                ),
                _manner=manner,
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
    child: Child,
    manner: Manner,
    client: httpx.Client,
    port: int,
    served_name: str,
    deadline: float,
) -> int:
    """Wait until our server lists our model, and return the window that it says it has."""
    pause = _FIRST_POLL_SECONDS
    while True:
        if (code := child.poll()) is not None:
            raise died(manner.table, child.log, code)
        models = list_models(client)
        if models is not None:
            for model in models:
                if model.get("id") == served_name and (window := manner.window(model, models)):
                    return window
            raise _another(child, port, served_name, models)
        if time.monotonic() > deadline:
            raise not_ready(manner.table, child.log)
        child.wait(pause)
        pause = min(1.2 * pause, _POLL_SECONDS)


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
