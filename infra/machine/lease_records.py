"""The record of a lease: a file that says who holds which accelerators, and what of it may live."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from infra.contracts.errors import PreflightError
from infra.contracts.records import Record
from infra.machine import process_trees
from infra.machine.process_trees import Identity
from infra.store.content import write_atomically

_SECRET = ("key", "token", "secret", "password", "auth")


class LeaseRecord(Record):
    """What is known of one lease, for people who wait for it and for the next sweep."""

    schema_version: Literal[1] = 1
    mark: str
    """Random word in the environment of all its processes."""

    what: str
    """What it is for, for people."""

    started: datetime
    boot: str
    """Which boot of the machine it belongs to."""

    namespace: int
    """Which container's process ids it names."""

    driver: Identity
    """The process that holds the lease."""

    supervisor: Identity | None = None
    """Ancestor of the engine's processes, while there are any."""

    slots: tuple[str, ...]
    """Names of the accelerators it holds."""

    command: tuple[str, ...] = ()
    """What runs, without secrets."""

    log: str = ""
    """Path of its log."""


def holders(folder: Path, slots: Sequence[str]) -> Iterator[str]:
    """Say who holds these slots, as far as records tell."""
    for path in folder.glob("*.json"):
        record = read(path, own=False)
        if record is None or record.boot != process_trees.boot_id():
            continue
        # The driver of another container cannot be looked at from here.
        lives = record.namespace != process_trees.namespace() or any(
            process.alive() for process in (record.driver, record.supervisor) if process
        )
        if lives and set(record.slots) & set(slots):
            since = record.started.astimezone()
            yield f"process {record.driver.pid} since {since:%d %b %H:%M:%S} ({record.what})"


def write(path: Path, record: LeaseRecord) -> None:
    """Write a record, so that nobody ever reads half of it.

    Raises:
        PreflightError: It cannot be written.
    """
    try:
        write_atomically(path, record.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise PreflightError(
            f"The folder of leases {path.parent} cannot be written: {error.strerror}.",
            cause="Without a record nobody could clean up after a killed run.",
            remedy="Free some room there, or point ASSAY_LEASES elsewhere.",
        ) from error


def read(path: Path, *, own: bool = True) -> LeaseRecord | None:
    """Return a record; None if it is torn, gone, or somebody else's though it should be ours."""
    try:
        # In a folder for everybody others could have us end our own processes.
        if own and path.lstat().st_uid != os.geteuid():
            return None
        return LeaseRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def public(command: Sequence[str]) -> tuple[str, ...]:
    """Return a command without the values of options that sound like secrets."""
    words: list[str] = []
    for word in command:
        name, equals, _ = word.partition("=")
        secret = name.startswith("-") and any(part in name.lower() for part in _SECRET)
        if words and words[-1].startswith("-") and not equals and not word.startswith("-"):
            before = words[-1]
            if "=" not in before and any(part in before.lower() for part in _SECRET):
                words.append("…")
                continue
        words.append(f"{name}=…" if secret and equals else word)
    return tuple(words)
