"""What is freed, what is kept, and why: looked at, nothing changed.

A run stays as `policy` says. Of the store everything stays that a kept run used, or a process that
lives; see `infra.store.usage`. Runs from before there were such lists keep everything that was made
before their end, but of checkpoints only those that their reports name.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from infra.housekeeping import runs as of_runs
from infra.housekeeping.disk import coming_free, taken
from infra.housekeeping.kinds import GONE, Entry, entries, links
from infra.housekeeping.policy import LEASES, LISTS, RUNS, Policy
from infra.housekeeping.seen import Seen, names_of
from infra.machine import lease_records, process_trees
from infra.machine.environments import current
from infra.store.settings import Settings
from infra.store.usage import lists

ENVIRONMENTS, CHECKPOINTS = "environments", "checkpoints"


@dataclass(frozen=True)
class Item:
    """Something that is kept or freed as one, and why."""

    kind: str
    path: Path
    paths: tuple[Path, ...]
    """All of it."""

    why: str
    free: bool
    entry: Entry | None = None
    """None for what does not lie in the store."""


@dataclass(frozen=True)
class Plan:
    """What is freed and what is kept."""

    policy: Policy
    cache: Path
    runs_folders: tuple[Path, ...]
    items: tuple[Item, ...]
    sizes: dict[Path, int] = field(default_factory=dict)
    """Path → bytes: what comes free, or what stays."""

    @property
    def freed(self) -> list[Item]:
        """What is freed, in the order in which it goes."""
        return [item for item in self.items if item.free]

    @property
    def bytes(self) -> int:
        """What comes free in all."""
        return sum(self.sizes[item.path] for item in self.freed)


def planned(
    policy: Policy, settings: Settings, runs_folders: Iterable[Path], now: float | None = None
) -> Plan:
    """Return what would be freed.

    Args:
        policy: What shall be kept.
        settings: Where the store and the leases are.
        runs_folders: Folders of runs; runs that lie elsewhere are kept.
        now: In seconds since the epoch; the time if not given.
    """
    cache = settings.cache.expanduser().absolute()
    folders = tuple(folder.expanduser().absolute() for folder in runs_folders)
    moment = time.time() if now is None else now
    items = [
        *_runs(policy, cache, folders, moment),
        *_store(policy, settings, cache, folders, moment),
        *_lists(policy, cache, folders, moment),
        *_leases(policy, settings),
    ]
    asked = [
        item if item.kind in policy.kinds or not item.free
        else Item(item.kind, item.path, item.paths, "not asked for", False, item.entry)
        for item in items
    ]  # fmt: skip
    going = [item for item in asked if item.free]
    staying = [item for item in asked if not item.free]
    sizes = dict(zip([one.path for one in going], coming_free(i.paths for i in going), strict=True))
    stays = taken(item.paths for item in staying)
    sizes |= dict(zip([one.path for one in staying], stays, strict=True))
    return Plan(policy, cache, folders, tuple(asked), sizes)


@dataclass(frozen=True)
class Needed:
    """What of the store has to stay."""

    in_use: frozenset[str]
    """By a process that lives, with every folder above it."""

    by_runs: frozenset[str]
    """By a run that is kept, with every folder above it."""

    before: float
    """All that was made before, in seconds since the epoch: a run without a list may need it."""

    linked: frozenset[str]
    """What links in the store lead to."""

    last: dict[str, float]
    """Name → when it was last used, as lists say it."""

    def why(self, entry: Entry, policy: Policy, now: float) -> str:
        """Return why something stays; empty if nothing keeps it."""
        return next(self._reasons(entry, policy, now), "")

    def _reasons(self, entry: Entry, policy: Policy, now: float) -> Iterator[str]:
        try:
            made = max(path.lstat().st_mtime for path in entry.paths)
        except FileNotFoundError:
            yield "gone meanwhile"
            return
        environment = entry.kind == ENVIRONMENTS
        if entry.name in self.in_use or entry.whole_name in self.in_use:
            yield "in use now"
        if entry.path.name.endswith(GONE):
            return
        if entry.name in self.linked:
            yield "a link in the store leads to it"
        if environment and entry.path.name in current():
            yield "its lock is the current one"
        # A run that is started again takes the environment of today's lock.
        if entry.name in self.by_runs and not environment:
            yield "a kept run used it"
        if now - max(made, self.last.get(entry.name, 0.0)) < policy.seconds:
            yield policy.younger
        # Of environments and checkpoints it is known what needs them without any list.
        listed = environment or entry.kind == CHECKPOINTS or entry.left_over
        if made <= self.before and not listed:
            yield "may be of a kept run that has no list"


def needed(cache: Path, seen: Seen, settings: Settings) -> Needed:
    """Return what of the store has to stay.

    Args:
        cache: The store.
        seen: The runs that are kept, and what is seen of others.
        settings: Where leases are.
    """
    runs = seen.staying
    found = lists(cache)
    staying = [one for one in found if seen.needs(one)]
    listed = {run.name for one in found for run in one.runs}
    in_use = [name for one in staying if one.alive for name in one.names]
    in_use += [path.relative_to(cache).as_posix() for path in _served(settings, cache)]
    by_runs = [name for one in staying for name in one.names]
    by_runs += [
        path.relative_to(cache).as_posix()
        for run in runs
        for path in of_runs.checkpoints_of(run)
        if path.is_relative_to(cache)
    ]
    last: dict[str, float] = {}
    for one in found:
        for name in one.names:
            last[name] = max(one.changed, last.get(name, 0.0))
    return Needed(
        in_use=_and_above(in_use),
        by_runs=_and_above(by_runs),
        before=max(
            (_ended(run) for run in runs if run.path.name not in listed and run.was_here),
            default=0.0,
        ),
        linked=frozenset(links(cache)),
        last=last,
    )


def _ended(run: of_runs.Run) -> float:
    try:
        return (run.path / "report.json").stat().st_mtime
    except FileNotFoundError:
        return run.touched


def _and_above(names: Iterable[str]) -> frozenset[str]:
    found = set()
    for name in names:
        steps = name.split("/")
        found |= {"/".join(steps[:count]) for count in range(1, len(steps) + 1)}
    return frozenset(found)


def _served(settings: Settings, cache: Path) -> Iterator[Path]:
    """Yield what engines serve now, as far as their leases name it."""
    for path in settings.leases.expanduser().absolute().glob("*.json"):
        record = lease_records.read(path, own=False)
        if record is not None and not is_stale(record):
            yield from (Path(word) for word in record.command if Path(word).is_relative_to(cache))


def is_stale(record: lease_records.LeaseRecord) -> bool:
    """Return whether the driver of a lease is surely gone: of another boot, or dead."""
    if record.boot != process_trees.boot_id():
        return True
    return record.namespace == process_trees.namespace() and not record.driver.alive()


def kept_runs(policy: Policy, cache: Path, folders: Iterable[Path], now: float) -> dict[Path, str]:
    """Return the runs that are kept, and why."""
    found: dict[Path, str] = {}
    used = lists(cache)
    for folder in folders:
        tables = folder.glob("*/matrix.json")
        found |= of_runs.kept(of_runs.runs_in(folder), policy, used, tables, now)
    return found


def _runs(policy: Policy, cache: Path, folders: Iterable[Path], now: float) -> Iterator[Item]:
    kept = kept_runs(policy, cache, folders, now)
    for folder in folders:
        for run in of_runs.runs_in(folder):
            why = kept.get(run.path, "")
            yield Item(RUNS, run.path, (run.path,), why or policy.older, not why)
        for path in of_runs.half_deleted(folder):
            yield Item(RUNS, path, (path,), "half deleted before", True)


def _store(
    policy: Policy, settings: Settings, cache: Path, folders: tuple[Path, ...], now: float
) -> Iterator[Item]:
    need = needed(cache, seen(policy, cache, folders, now), settings)
    for entry in entries(cache):
        why = need.why(entry, policy, now)
        reason = why or _unneeded(entry)
        yield Item(entry.kind, entry.path, entry.paths, reason, not why, entry)


def _unneeded(entry: Entry) -> str:
    if entry.path.name.endswith(GONE):
        return "half deleted before"
    if entry.left_over:
        return "never finished, or put aside"
    if entry.kind == ENVIRONMENTS:
        return "its lock is no more the current one"
    return "no kept run used it"


def seen(
    policy: Policy,
    cache: Path,
    folders: tuple[Path, ...],
    now: float,
    gone: frozenset[str] = frozenset(),
) -> Seen:
    """Return the runs of folders, and which of them are left when those have gone that may.

    Args:
        policy: What shall be kept.
        cache: The store.
        folders: Of runs, absolute.
        now: In seconds since the epoch.
        gone: Names of runs that lay there before.
    """
    kept = kept_runs(policy, cache, folders, now)
    goes = RUNS in policy.kinds
    there = [run for folder in folders for run in of_runs.runs_in(folder)]
    staying = tuple(run for run in there if run.path in kept or not goes)
    return Seen(staying, names_of(there) | gone, folders)


def _lists(policy: Policy, cache: Path, folders: tuple[Path, ...], now: float) -> Iterator[Item]:
    """Yield the lists of processes that are gone, and of whose runs none is kept."""
    runs = seen(policy, cache, folders, now)
    for one in lists(cache):
        young = not one.here and now - one.changed < policy.seconds
        if not runs.needs(one) and not young:
            yield Item(LISTS, one.path, (one.path,), "of runs that go or are gone", True)


def _leases(policy: Policy, settings: Settings) -> Iterator[Item]:
    for path in sorted(settings.leases.expanduser().absolute().glob("*.json")):
        record = lease_records.read(path)
        if record is not None and path.stem == record.mark:
            stale = is_stale(record)
            why = "its run is gone" if stale else f"held: {record.what}"
            yield Item(LEASES, path, (path,), why, stale)
