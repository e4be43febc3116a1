"""Frees what was planned, unless somebody needs it by now.

Everything is first moved away by one rename, while no process can write down that it uses it, and
deleted afterwards: what is half deleted has a name that nobody looks for, and the next call deletes
the rest.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from infra.contracts.errors import StoreError
from infra.contracts.progress import Progress
from infra.housekeeping.disk import below, remove
from infra.housekeeping.kinds import GONE
from infra.housekeeping.plan import Item, Needed, Plan, kept_runs, needed, seen
from infra.housekeeping.policy import LEASES, LISTS, RUNS
from infra.housekeeping.seen import Seen
from infra.machine.leases import sweep
from infra.store.settings import Settings
from infra.store.usage import FOLDER, gate_closed, lists


@dataclass
class Freed:
    """What became of a plan."""

    bytes: int = 0
    """That came free."""

    stayed: dict[Path, str] = field(default_factory=dict)
    """What was planned to go and did not → why."""


def free(plan: Plan, settings: Settings, progress: Progress) -> Freed:
    """Free what was planned.

    Args:
        plan: What goes. What is needed by now, other than when it was planned, stays.
        settings: Where leases are.
        progress: Hears what is done.

    Raises:
        StoreError: Somebody else cleans up the same store.
    """
    if not plan.freed:
        return Freed()
    with _alone(plan.cache):
        return _Freeing(plan, settings, progress).run()


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    folder = cache / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".gc.lock", timeout=0):
            yield
    except Timeout:
        raise StoreError(
            f"Somebody else cleans up {cache}.",
            cause=f"Another process holds {folder / '.gc.lock'}.",
            remedy="Wait until it is done.",
        ) from None


class _Freeing:
    def __init__(self, plan: Plan, settings: Settings, progress: Progress) -> None:
        self._plan, self._settings, self._progress = plan, settings, progress
        self._seen: object = None
        self._need: Needed | None = None
        self._kept: dict[Path, str] = {}
        self._done = Freed()

    def run(self) -> Freed:
        leases = [item for item in self._plan.freed if item.kind == LEASES]
        others = [item for item in self._plan.freed if item.kind != LEASES]
        for number, item in enumerate(others, 1):
            self._progress.update("freeing", number, len(others), "things")
            try:
                self._free(item)
            except OSError as error:
                self._done.stayed[item.path] = error.strerror or type(error).__name__
        if leases:
            self._sweep(leases)
        return self._done

    def _free(self, item: Item) -> None:
        """Move something away and delete it, if nobody needs it."""
        with ExitStack() as held:
            held.enter_context(gate_closed(self._plan.cache))
            if why := self._why(item):
                self._done.stayed[item.path] = why
                return
            lock = item.path.with_name(f".{item.path.name}.lock")
            if item.entry and item.entry.left_over:
                lock = item.path.with_name(f".{Path(item.entry.whole_name).name}.lock")
            if lock.is_file():
                try:
                    held.enter_context(FileLock(lock, timeout=0))
                except Timeout:
                    self._done.stayed[item.path] = "somebody works on it"
                    return
            *beside, path = item.paths
            for each in beside:
                self._done.bytes += remove(each)
            gone = path
            if not path.name.endswith(GONE):
                gone = path.with_name(f".{path.name.lstrip('.')}.{secrets.token_hex(4)}{GONE}")
                path.rename(gone)
        self._done.bytes += remove(gone)

    def _why(self, item: Item) -> str:
        """Return why something stays after all; empty if it goes."""
        if item.path.is_symlink() or not item.path.exists():
            return "gone meanwhile"
        now = time.time()
        self._look(now)
        assert self._need is not None  # noqa: S101 -- it was looked at
        if item.kind == LISTS:
            one = next((one for one in lists(self._plan.cache) if one.path == item.path), None)
            needs = one is not None and self._runs(now).needs(one)
            return "needed by now" if needs else ""
        if item.entry is not None:
            return self._need.why(item.entry, self._plan.policy, now)
        return self._kept.get(item.path, "") if item.kind == RUNS else ""

    def _look(self, now: float) -> None:
        """Look again at who needs what, if anything of that has changed."""
        places = [self._plan.cache / FOLDER, self._settings.leases.expanduser().absolute()]
        files = [path for place in places for path in place.glob("*.json*")]
        seen = sorted((str(path), found.st_size, found.st_mtime_ns)
                      for path in files for found in [*below(path)][:1])  # fmt: skip
        if seen == self._seen:
            return
        plan = self._plan
        self._kept = kept_runs(plan.policy, plan.cache, plan.runs_folders, now)
        self._need = needed(plan.cache, self._runs(now), self._settings)
        self._seen = seen

    def _runs(self, now: float) -> Seen:
        plan = self._plan
        gone = frozenset(item.path.name for item in plan.items if item.kind == RUNS)
        return seen(plan.policy, plan.cache, plan.runs_folders, now, gone)

    def _sweep(self, items: list[Item]) -> None:
        """End what dead runs left on accelerators, and remove their records."""
        before = {item.path: [*below(item.path)] for item in items}
        sweep(self._settings, self._progress)
        for path, found in before.items():
            if path.exists():
                self._done.stayed[path] = "what it names could not be ended"
            else:
                self._done.bytes += sum(each.st_blocks * 512 for each in found)
