"""What workers on different machines share: results, checkpoints, answers, history, locks.

The local cache stays the place where everything is worked on; behind it lies a store at any URL of
fsspec (`ASSAY_SHARED`). An entry is brought from there when it is missing here, and put there once
it is whole. Its name is that in the cache: the digest of all that decides it. What has no such key
is never shared.

place      objects behind a URL
locks      who does what, across machines
entries    folders and files that appear there whole, once

Where the store is away, each machine works on with what it has; that costs work done twice, never
a run.
"""

from __future__ import annotations

import fnmatch
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock

from infra.contracts.progress import Progress
from infra.store.settings import Settings
from infra.store.shared import entries, locks
from infra.store.shared.place import Place, place, without_credentials

__all__ = ["BROUGHT", "Place", "Shared", "place", "shared_of"]

_RUNS = "runs"

BROUGHT = ".brought"
"""Stands in the folder of a run that another machine carried out: it used nothing of this cache.
It says which upload it is: after a retry there is another one."""


class Shared:
    """The store behind the cache of one machine; see `infra.store.content.Behind`."""

    def __init__(
        self, place: Place, settings: Settings, say: Callable[[str], None] = lambda _: None
    ) -> None:
        """Take a place for the store.

        Args:
            place: Where it is.
            settings: Whose cache lies before it, and how long leases are.
            say: Hears once that the store is away, and of damage.
        """
        self.place = place
        self._cache = settings.cache.absolute()
        self._lease_seconds = settings.shared_lease_seconds
        self._say = say
        self._complained = False
        self._kept: set[str] = set()

    def has(self, final: Path) -> bool:
        """Return whether an entry is there, whole."""
        with self.or_without():
            return entries.find(self.place, self._name(final)) is not None
        return False

    def bring(self, final: Path) -> bool:
        """Let an entry appear in the cache by one rename; return whether it is there now.

        Whoever calls holds the local lock on it.
        """
        return self._bring(self._name(final), final)

    def keep(self, final: Path) -> None:
        """Put a whole entry of the cache there, if it is not there yet."""
        self._keep(self._name(final), final)

    @contextmanager
    def alone(self, what: Path | str, on_wait: Callable[[], None]) -> Iterator[None]:
        """Hold the lock on an entry, or on anything else that contents name, for the block.

        Where the store is away for the length of a lease the block goes on without.
        """
        name = what if isinstance(what, str) else self._name(what)
        lost = f"another machine took {name} over, as nothing was heard of this one"
        with ExitStack() as stack:
            with self.or_without():
                stack.enter_context(
                    locks.held(
                        self.place, name, lease_seconds=self._lease_seconds, on_wait=on_wait,
                        on_loss=lambda: self._say(lost),
                    )
                )  # fmt: skip
            yield

    def keep_run(self, folder: Path) -> None:
        """Put the folder of a finished run there, in place of what it was before a retry."""
        with self.or_without():
            entries.replace(self.place, f"{_RUNS}/{folder.name}", folder)

    def bring_runs(self, pattern: str, runs: Path) -> list[str]:
        """Bring the finished runs whose folder has such a name; return those that are here now.

        What was carried out here stays as it is; what was brought before it was retried elsewhere
        is brought anew.
        """
        here = []
        with self.or_without():
            for name in fnmatch.filter(self.place.names(f"entries/{_RUNS}"), pattern):
                folder, before = runs / name, runs / f".{name}.before"
                runs.mkdir(parents=True, exist_ok=True)
                with FileLock(runs / ".shared.lock"):
                    if self._was_retried(f"{_RUNS}/{name}", folder):
                        shutil.rmtree(before, ignore_errors=True)
                        folder.rename(before)
                    if not folder.exists():
                        self._bring(f"{_RUNS}/{name}", folder, mark=BROUGHT)
                    if not folder.exists() and before.exists():
                        before.rename(folder)
                    shutil.rmtree(before, ignore_errors=True)
                    if folder.exists():
                        here.append(name)
        return here

    def _was_retried(self, name: str, folder: Path) -> bool:
        mark = folder / BROUGHT
        if not mark.is_file():
            return False
        whole = entries.find(self.place, name)
        return whole is not None and whole.upload != mark.read_text(encoding="utf-8")

    def keep_finished(self, key: str, run: str) -> None:
        """Say which run is the finished one of a key."""
        with self.or_without():
            self.place.put(f"finished/{key}", run.encode())

    def bring_finished(self, key: str, runs: Path) -> None:
        """Bring the finished run of a key into the folder of runs, if there is one."""
        with self.or_without():
            if (run := self.place.read(f"finished/{key}")) is not None:
                self.bring_runs(run.decode(), runs)

    def _bring(self, name: str, final: Path, *, mark: str | None = None) -> bool:
        partial = final.parent / f".{final.name}.partial"
        with self.or_without():
            if (whole := entries.find(self.place, name)) is None:
                return False
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            try:
                entries.bring(self.place, name, whole, partial)
                if mark:
                    (partial / mark).write_text(whole.upload, encoding="utf-8")
                (partial / final.name if whole.is_file else partial).rename(final)
            except entries.Damaged as damage:
                if not entries.discard(self.place, name, whole):
                    return self._bring(name, final, mark=mark)  # it was replaced meanwhile
                self._say(f"{damage} in {self.place.title}; it is not used, and made anew")
                return False
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            self._kept.add(name)
            return True
        return False

    def _keep(self, name: str, final: Path) -> None:
        if name in self._kept:
            return
        with self.or_without():
            if entries.find(self.place, name) is None:
                entries.keep(self.place, name, final)
            self._kept.add(name)

    def _name(self, final: Path) -> str:
        return final.absolute().relative_to(self._cache).as_posix()

    @contextmanager
    def or_without(self) -> Iterator[None]:
        """Go on without the store where it is away; say so once."""
        try:
            yield
        except Exception as error:  # of whichever library
            if not self._complained:
                self._say(
                    f"{self.place.title} cannot be used ({type(error).__name__}: "
                    f"{without_credentials(str(error)):.200}). This run goes on with what is "
                    "here, and others may do the same work again."
                )
            self._complained = True


def shared_of(settings: Settings, progress: Progress) -> Shared | None:
    """Return the store behind a cache; None if there is none.

    Raises:
        PreflightError: `ASSAY_SHARED` names none that can be used.
    """
    if settings.shared is None:
        return None
    return Shared(place(settings.shared), settings, progress.say)
