"""From a branch to a commit: as the hub says, remembered for when it does not answer."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from infra.contracts.errors import HubUnreachable
from infra.contracts.progress import Progress
from infra.models.hubs.hub import COMMIT, Hub, Listing, Repository, connect, raise_unreachable
from infra.store.content import write_atomically

T = TypeVar("T")


@dataclass(frozen=True)
class Resolved:
    """A revision, made a commit."""

    revision: str
    """As it was asked for, or the hub's default branch."""
    commit: str
    folder: Path
    """Where the snapshot of the commit is, or will be."""
    listing: Listing | None
    """None if the folder is there and the hub was not asked, or did not answer."""


def resolve(
    repository: Repository,
    revision: str | None,
    root: Path,
    *,
    timeout: float,
    attempts: int,
    progress: Progress,
) -> Resolved:
    """Make a revision a commit, without the network where that is possible.

    A commit whose folder is here needs no hub. A branch does; if the hub does not answer, the
    commit it was last seen at is taken if its folder is here, and `progress` hears it.

    Args:
        repository: Model or dataset.
        revision: Branch, tag or commit; the hub's default branch if none.
        root: Folder of all snapshots.
        timeout: Seconds until the hub counts as unreachable, whatever its client is doing.
        attempts: How often a hub is asked that answers with an error of its own.
        progress: Hears when an earlier resolution is used.

    Raises:
        HubUnreachable: No answer, and no earlier resolution to use.
        RepositoryNotFound: No such repository or revision for this token.
        GatedRepository: The hub refuses this user.
    """
    kept = root / repository.source / repository.id.replace("/", "--")
    if revision and COMMIT.fullmatch(revision) and (kept / revision).is_dir():
        return Resolved(revision, revision, kept / revision, None)
    hub = connect(repository.source)
    revision = revision or hub.default_revision
    try:
        listing = ask(hub, repository, revision, timeout=timeout, attempts=attempts)
    except HubUnreachable as error:
        note = _note(kept, revision)
        if not note.is_file():
            raise
        seen = json.loads(note.read_text(encoding="utf-8"))
        folder = kept / seen["commit"]
        if not folder.is_dir():
            raise
        progress.say(
            f"{error.fact} Going on with commit {seen['commit']} of {repository}, "
            f"which {revision!r} stood for on {seen['date']}."
        )
        return Resolved(revision, seen["commit"], folder, None)
    return Resolved(revision, listing.commit, kept / listing.commit, listing)


def remember(what: Resolved) -> None:
    """Note which commit a branch was seen at, for `resolve` to use without the hub."""
    if what.listing and what.commit != what.revision:
        note = {"commit": what.commit, "date": datetime.now(UTC).date().isoformat()}
        write_atomically(_note(what.folder.parent, what.revision), json.dumps(note))


def ask(
    hub: Hub, repository: Repository, revision: str, *, timeout: float, attempts: int
) -> Listing:
    """Return the hub's listing; ask again if the hub answered with an error of its own."""
    while True:
        attempts -= 1
        try:
            listing = _within(
                timeout,
                lambda: hub.list(repository, revision, timeout=timeout),
                lambda: raise_unreachable(hub, f"no answer within {timeout:g} s", may_heal=True),
            )
        except HubUnreachable as error:
            if attempts <= 0 or not error.status or not error.may_heal:
                raise
            time.sleep(1)
            continue
        if not re.fullmatch(r"\w+", listing.commit, re.ASCII):  # it will name a folder here
            raise_unreachable(hub, "the answer is not a hub's")
        return listing


def _note(kept: Path, revision: str) -> Path:
    return kept / "refs" / f"{quote(revision, safe='')}.json"


def _within(seconds: float, call: Callable[[], T], late: Callable[[], T]) -> T:
    """Return what a call returns, or give up on it: looking up a host name has no time limit."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="ask-hub").start()
    try:
        return future.result(seconds)
    except TimeoutError:
        return late()
