"""Both engines and the page, for as long as the page is open."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from infra.contracts.errors import PortTaken, PreflightError, ServerError, SpecError
from infra.contracts.progress import Progress
from infra.engines.endpoint import ServedEndpoint
from infra.machine import ports
from infra.machine.environments import ensure
from infra.machine.processes import Child
from infra.stages.chat import engines, opening, votes
from infra.stages.chat.choosing import SIDES, Chosen
from infra.stages.chat.desk import Desk, opened
from infra.stages.chat.votes import Ballot, Preference, Vote
from infra.store.settings import Settings

FOLDER = "chat"
"""Below the run's folder: no part of what its receipt seals."""

VOTES = "votes.jsonl"

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
        SpecError: The port is taken.
        NotEnough: Both engines do not fit.
        AcceleratorsTaken: Other runs held the accelerators for too long.
        ServerError: An engine did not come up, or ended.
        ProcessError: The page did not come up, or ended.
    """
    folder = _session(chosen)
    port = _port(options.port)
    desk = _desk(chosen)
    environment = ensure(
        opening.PROGRAM, "cpu",
        settings=settings, progress=progress, log=folder / "environment-page.log",
    )  # fmt: skip
    with (
        engines.served(chosen, folder, settings, progress) as servers,
        opened(desk) as address,
    ):
        document = opening.document_of(chosen, servers, options.blind, port, address["url"])
        keys = opening.keys_of(servers, address["key"])
        with opening.started(environment.python, document, keys, folder) as page:
            url = opening.wait_until_open(page, port)
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
        raise SpecError(
            error.fact,
            cause=error.cause,
            remedy="Name another one by --port, or none: a free one is found.",
        ) from error
    return wanted


def _desk(chosen: Chosen) -> Desk:
    path = chosen.folder / FOLDER / VOTES
    digests = {
        side: chosen.checkpoint(name).identity
        for side, name in zip(SIDES, chosen.names, strict=True)
    }

    def preference() -> Preference:
        return votes.preference(votes.about(votes.read(path), chosen.pair.name, digests))

    def vote(ballot: Ballot) -> Preference:
        kept = Vote(
            **dict(ballot), at=datetime.now().astimezone(), candidate=chosen.pair.name,
            checkpoints=digests,
        )  # fmt: skip
        votes.keep(path, kept)
        return preference()

    preference()  # a file that cannot be read is found before anything is served
    return Desk(vote=vote, preference=preference)


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
            raise opening.ended(page, code)
        for side, server in zip(SIDES, servers.values(), strict=True):
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
