"""Both engines and the page, for as long as the page is open."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import httpx
import psutil

from infra.contracts.capability import Capability
from infra.contracts.errors import (
    AcceleratorsTaken,
    PortTaken,
    PreflightError,
    ProcessError,
    ServerError,
)
from infra.contracts.progress import Progress
from infra.contracts.specs import ServingSpec
from infra.engines.endpoint import ServedEndpoint
from infra.engines.port import Setup
from infra.engines.registry import engine_of
from infra.machine import cores, ports
from infra.machine.device import Device, detect
from infra.machine.environments import ensure
from infra.machine.leases import Lease, lease
from infra.machine.processes import Child, clean_environment, describe_exit, start, tail
from infra.models.chat_template import text_for_tools
from infra.report.changed import changed
from infra.stages.chat import shares, votes
from infra.stages.chat.choosing import Chosen
from infra.stages.chat.desk import Desk, opened
from infra.stages.chat.lost_rows import lost_rows
from infra.stages.chat.shares import Wanted
from infra.stages.chat.votes import Ballot, Preference, Vote
from infra.store.content import write_atomically
from infra.store.settings import Settings

FOLDER = "chat"
"""Below the run's folder: no part of what its receipt seals."""

VOTES = "votes.jsonl"

PROGRAM = "chat"
"""What the page's environment is called."""

_SIDES = ("baseline", "candidate")
_SCRIPT = Path(__file__).with_name("program") / "page.py"
_CONCURRENCY = 4
"""Messages at a time that an engine has room for: one a tab."""

_PAGE_SECONDS = 120.0
_POLL_SECONDS = 0.5
_LAST_WORDS_SECONDS = 10.0
"""How long the page goes on after an engine ended, so that it can say so."""


@dataclass(frozen=True)
class PageOptions:
    """How the page is opened."""

    blind: bool = False
    """Begin with hidden names, and a vote after each message."""

    port: int | None = None
    """On loopback; a free one is found if none is named."""

    idle_minutes: float | None = None
    """End by itself when nobody has had the page open for so long; none for never."""


def chat(
    chosen: Chosen,
    options: PageOptions,
    *,
    settings: Settings,
    progress: Progress,
    on_open: Callable[[str], None],
) -> None:
    """Serve both models and the page until somebody ends it, or nobody has it open any more.

    Args:
        chosen: The models.
        options: How the page is opened.
        settings: Where environments and leases are.
        progress: Hears what is done until the page is open.
        on_open: Hears its address.

    Raises:
        PreflightError: The run's folder cannot be written.
        NotEnough: Both engines do not fit.
        AcceleratorsTaken: Other runs held the accelerators for too long.
        ServerError: An engine did not come up, or ended.
        ProcessError: The page did not come up, or ended.
    """
    folder = _session(chosen)
    port = _port(options.port)
    desk = _desk(chosen)
    environment = ensure(
        PROGRAM, "cpu", settings=settings, progress=progress, log=folder / "environment-page.log"
    )
    with (
        _served(chosen, folder, settings, progress) as servers,
        opened(desk) as address,
    ):
        document = _document(chosen, servers, options, port, address["url"])
        keys = {
            f"ASSAY_CHAT_{name.upper()}_KEY": server.headers["Authorization"].partition(" ")[2]
            for name, server in zip(_SIDES, servers.values(), strict=True)
        }
        keys["ASSAY_CHAT_DESK_KEY"] = address["key"]
        with _page(environment.python, document, keys, folder) as page:
            url = _await_page(page, port)
            on_open(url)
            _watch(page, servers, desk, options.idle_minutes, progress)


def _session(chosen: Chosen) -> Path:
    """Make the folder of this session's logs."""
    folder = chosen.folder / FOLDER / f"{datetime.now():%Y%m%d-%H%M%S-%f}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise PreflightError(
            f"The run's folder {chosen.folder} cannot be written.",
            cause=error.strerror or type(error).__name__,
            remedy="Let this user write there: votes and logs are kept in it.",
            nothing_spent=True,
        ) from error
    return folder


def _port(wanted: int | None) -> int:
    if wanted is None:
        return ports.find_free()
    try:
        ports.refuse_taken(wanted)
    except PortTaken as error:
        remedy = "Name another one by --port, or none: a free one is found."
        raise replace(error, remedy=remedy) from error
    return wanted


def _desk(chosen: Chosen) -> Desk:
    path = chosen.folder / FOLDER / VOTES
    digests = {
        side: chosen.checkpoint(name).identity
        for side, name in zip(_SIDES, chosen.names, strict=True)
    }

    def preference() -> Preference:
        # Votes on other weights, or on another candidate of the run, are about something else.
        return votes.preference([one for one in votes.read(path) if one.checkpoints == digests])

    def vote(ballot: Ballot) -> Preference:
        kept = Vote(
            **dict(ballot), at=datetime.now().astimezone(), candidate=chosen.pair.name,
            checkpoints=digests,
        )  # fmt: skip
        votes.keep(path, kept)
        return preference()

    preference()  # a file that cannot be read is found before anything is served
    return Desk(vote=vote, preference=preference)


@contextmanager
def _served(
    chosen: Chosen, folder: Path, settings: Settings, progress: Progress
) -> Iterator[Mapping[str, ServedEndpoint]]:
    """Serve both arms, the one after the other, while the block runs."""
    arms = {name: chosen.arm(name) for name in chosen.names}
    devices = {name: detect(arm.serving.computes_on) for name, arm in arms.items()}
    environments = {
        name: ensure(
            engine_of(arm.serving).environment, devices[name].kind,
            settings=settings, progress=progress, log=folder / f"environment-{name}.log",
            python=Path(arm.serving.python) if arm.serving.python else None,
        )
        for name, arm in arms.items()
    }  # fmt: skip
    wanted = [Wanted(name, arm.serving, chosen.checkpoint(name).size_bytes)
              for name, arm in arms.items()]  # fmt: skip
    with ExitStack() as stack:
        what = f"chat about run {chosen.pair.report.run_id}"
        held = stack.enter_context(_held(wanted, list(devices.values()), what, settings, progress))
        servers: dict[str, ServedEndpoint] = {}
        parts = cores.parted(len(arms))
        for (name, arm), (serving, its_lease), part in zip(arms.items(), held, parts, strict=True):
            checkpoint, engine = chosen.checkpoint(name), engine_of(serving)
            adapter = checkpoint.adapter
            setup = Setup(
                checkpoint.path, serving, environments[name], devices[name],
                arm.model.trust_remote_code,
                adapter=None if adapter is None or adapter.merged else adapter,
            )  # fmt: skip
            progress.say(f"starting {name} with {engine.title}")
            with cores.confined(part) if devices[name].kind == "cpu" else nullcontext():
                servers[name] = stack.enter_context(
                    engine.serve(
                        setup, name=name, concurrency=_CONCURRENCY, logprobs=0,
                        log=folder / f"server-{name}.log", progress=progress, lease=its_lease,
                    )
                )  # fmt: skip
        yield servers


@contextmanager
def _held(
    wanted: list[Wanted], devices: list[Device], what: str, settings: Settings, progress: Progress
) -> Iterator[list[tuple[ServingSpec, Lease]]]:
    """Hold what both compute on: accelerators of their own where there are any, else the same."""
    names = [f"{what}, {one.name}" for one in wanted]
    sizes = [one.serving.tensor_parallel_size for one in wanted]
    apart = devices[0].kind != devices[1].kind
    with ExitStack() as stack:
        first = stack.enter_context(
            lease(
                devices[0], count=sizes[0] if apart else max(sizes), what=names[0],
                settings=settings, progress=progress,
            )
        )  # fmt: skip
        if not apart and devices[0].kind == "cpu":
            second = stack.enter_context(first.beside(names[1]))
            specs = shares.of_processor(wanted, psutil.virtual_memory().available)
            yield list(zip(specs, (first, second), strict=True))
            return
        now = settings if apart else settings.model_copy(update={"slot_wait_seconds": 0.0})
        try:
            second = stack.enter_context(
                lease(devices[1], count=sizes[1], what=names[1], settings=now, progress=progress)
            )
        except AcceleratorsTaken:
            if apart:
                raise
            second = stack.enter_context(first.beside(names[1]))
        if apart or set(second.slots.names) - set(first.slots.names):
            specs = shares.apart(wanted)
        else:
            specs = shares.of_accelerator(wanted, devices[0])
            progress.say("both share an accelerator: each has its part of the memory")
        yield list(zip(specs, (first, second), strict=True))


def _document(
    chosen: Chosen,
    servers: Mapping[str, ServedEndpoint],
    options: PageOptions,
    port: int,
    desk: str,
) -> dict[str, object]:
    """Return all that the page has to know; no key is in it."""
    rows, none_because = lost_rows(chosen)
    templates = [text_for_tools(chosen.checkpoint(name).path) for name in chosen.names]
    return {
        "run": chosen.pair.report.run_id,
        "model": chosen.pair.spec.baseline.model.id,
        "candidate": chosen.pair.name,
        "change": changed(chosen.pair),
        "arms": {
            side: {
                "url": server.base_url,
                "model": server.model,
                "chat": Capability.CHAT in server.can,
                "window": server.window,
            }
            for side, server in zip(_SIDES, servers.values(), strict=True)
        },
        "variables": chosen.pair.spec.evaluation.chat_template_kwargs,
        "thinks": any("enable_thinking" in text for text in templates),
        "blind": options.blind,
        "port": port,
        "desk": desk,
        "lost_rows": rows,
        "no_lost_rows": none_because,
    }


@contextmanager
def _page(
    python: Path, document: Mapping[str, object], keys: Mapping[str, str], folder: Path
) -> Iterator[Child]:
    request = folder / "page.json"
    write_atomically(request, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    env = clean_environment(
        {
            **keys,
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_TEMP_DIR": str(folder / "page"),
            "HF_HUB_OFFLINE": "1",
            "DO_NOT_TRACK": "1",
            # Gradio looks for itself over HTTP when it starts, and the engines are here.
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }
    )
    command = [str(python), "-I", "-u", str(_SCRIPT), str(request)]
    with start(command, log=folder / "page.log", env=env) as page:
        yield page


def _await_page(page: Child, port: int) -> str:
    """Wait until the page can be opened, and return its address."""
    url = f"http://127.0.0.1:{port}/"
    deadline = time.monotonic() + _PAGE_SECONDS
    with httpx.Client(trust_env=False, timeout=_PAGE_SECONDS) as client:
        while time.monotonic() < deadline:
            if (code := page.wait(_POLL_SECONDS)) is not None:
                raise _page_ended(page, code)
            try:
                if client.get(url).is_success:
                    return url
            except httpx.TransportError:
                continue
    raise ProcessError(
        f"The page did not open within {_PAGE_SECONDS:.0f} seconds.",
        cause=f"Its last lines:\n{tail(page.log)}",
        remedy=f"Look at its log, {page.log}.",
    )


def _page_ended(page: Child, code: int) -> ProcessError:
    return ProcessError(
        f"The page ended by itself: {describe_exit(code)}.",
        cause=f"Its last lines:\n{tail(page.log)}",
        remedy=f"Start it again; its log is {page.log}.",
    )


def _watch(
    page: Child,
    servers: Mapping[str, ServedEndpoint],
    desk: Desk,
    idle_minutes: float | None,
    progress: Progress,
) -> None:
    """Return when nobody has the page open any more; raise when a part of it ended."""
    desk.heard = time.monotonic()
    while True:
        if (code := page.wait(_POLL_SECONDS)) is not None:
            raise _page_ended(page, code)
        for side, server in zip(_SIDES, servers.values(), strict=True):
            try:
                server.raise_if_dead()
            except ServerError as error:
                desk.ended[side] = " ".join(
                    [error.fact.partition("\n")[0], error.cause.partition("\n")[0]]
                ).strip()
                page.wait(_LAST_WORDS_SECONDS)
                raise
        if idle_minutes is not None and time.monotonic() - desk.heard > idle_minutes * 60:
            progress.say(f"nobody has had the page open for {idle_minutes:g} minutes")
            return
