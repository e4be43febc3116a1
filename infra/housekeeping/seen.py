"""Which runs stay, as far as they are seen from here, and whether they need what a list names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from infra.housekeeping.runs import Run
from infra.store.runs_identity import identity_of
from infra.store.usage import Used


@dataclass(frozen=True)
class Seen:
    """The runs of the folders that were looked through."""

    staying: tuple[Run, ...]
    """Those that are left when those have gone that may."""

    there: frozenset[str]
    """Names of all, those included that went since it was planned."""

    folders: tuple[Path, ...]
    """That were looked through, absolute."""

    @cached_property
    def _names(self) -> frozenset[str]:
        return names_of(self.staying)

    @cached_property
    def _identities(self) -> frozenset[str]:
        return frozenset(map(identity_of, self.folders)) - {""}

    def needs(self, one: Used) -> bool:
        """Return whether what a process used has to stay: it lives, or a run of it may be kept."""
        return one.alive or any(self._may_stay(run, one) for run in one.runs)

    def _may_stay(self, run: Path, one: Used) -> bool:
        if run.name in self._names:
            return True
        identity = one.folders.get(run.parent, "")
        if not identity:
            # By its path it may be any machine's. A run's name is its own: if one lies here, the
            # list is of this folder.
            return not (run.parent in self.folders and run.name in self.there)
        there = identity_of(run.parent)
        if there != identity and run.parent not in self.folders and run.is_dir():
            return True  # a folder that was copied back or restored may have lost its identity
        if identity in self._identities:
            return False
        if there == identity:
            return run.is_dir()
        return not one.here  # the folder is gone, or lies where nobody here can look


def names_of(runs: Iterable[Run]) -> frozenset[str]:
    """Return the names of runs."""
    return frozenset(run.path.name for run in runs)
