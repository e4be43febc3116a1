"""Which runs of a folder are kept, and why."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.housekeeping.kinds import GONE
from infra.housekeeping.policy import Policy
from infra.store.shared import BROUGHT
from infra.store.usage import Used

_NAME = re.compile(r"(?P<label>[a-z0-9][a-z0-9-]*)-(?P<moment>\d{8}-\d{6})-[0-9a-f]{8}")
_SPEC, _REPORT = "spec.json", "report.json"


@dataclass(frozen=True)
class Run:
    """The folder of one run."""

    path: Path
    label: str
    created: float
    """When it began, in seconds since the epoch."""

    finished: bool

    @property
    def was_here(self) -> bool:
        """Whether it was carried out here, and not brought from where another machine left it."""
        return not (self.path / BROUGHT).exists()

    @property
    def touched(self) -> float:
        """When it was last worked on, in seconds since the epoch."""
        if self.finished:
            return self.created
        places = [self.path, *self.path.rglob("*")]
        times = []
        for place in places:
            with suppress(FileNotFoundError):
                times.append(place.lstat().st_mtime)
        return max([self.created, *times])

    def document(self, name: str) -> Mapping[str, Any]:
        """Return one of its JSON files; nothing if it is not there, or is none."""
        with suppress(OSError, ValueError):
            found = json.loads((self.path / name).read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
        return {}


def runs_in(folder: Path) -> list[Run]:
    """Return the runs that lie in a folder, newest first: real folders with a run's name and spec.

    Whatever else lies there is the user's.
    """
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        named = _NAME.fullmatch(path.name)
        if named and not path.is_symlink() and (path / _SPEC).is_file():
            with suppress(ValueError):
                created = datetime.strptime(named["moment"], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
                finished = (path / _REPORT).is_file()
                found.append(Run(path, named["label"], created.timestamp(), finished))
    return sorted(found, key=lambda run: (run.created, run.path.name), reverse=True)


def half_deleted(folder: Path) -> list[Path]:
    """Return what is left of runs whose deletion was interrupted."""
    return [
        path
        for path in sorted(folder.glob(f".*{GONE}"))
        if _NAME.match(path.name[1:]) and not path.is_symlink()
    ]


def kept(
    runs: Sequence[Run], policy: Policy, lists: Iterable[Used], tables: Iterable[Path], now: float
) -> dict[Path, str]:
    """Return the runs that are kept, and why; the others may go.

    Args:
        runs: All of a folder, newest first.
        policy: What is asked for.
        lists: What processes used, and for which runs.
        tables: Matrices; each shows runs.
        now: In seconds since the epoch.
    """
    at_work = {run.name for one in lists if one.alive for run in one.runs}
    shown = {path: table.parent.name for table in tables for path in _shown(table)}
    found: dict[Path, str] = {}
    newest: dict[str, int] = {}
    for run in runs:
        counted = newest.get(run.label, 0) + run.finished
        newest[run.label] = counted
        reason = ""
        if run.path.name in at_work:
            reason = "in use now"
        elif policy.labels and run.label not in policy.labels:
            reason = "of another label"
        elif run.label in policy.keep_labels:
            reason = "of a label that is kept"
        elif now - run.touched < policy.seconds:
            reason = policy.younger
        elif run.finished and counted <= policy.keep_runs:
            reason = f"among the newest {policy.keep_runs} of its label"
        elif run.path in shown:
            reason = f"shown by {shown[run.path]}"
        if reason:
            found[run.path] = reason
    return _with_baselines(runs, found)


def _with_baselines(runs: Sequence[Run], found: dict[Path, str]) -> dict[Path, str]:
    """Keep what kept runs are held against, too."""
    by_name = {run.path.name: run for run in runs}
    left = [run for run in runs if run.path in found]
    while left:
        run = left.pop()
        baseline = run.document(_SPEC).get("baseline")
        if isinstance(baseline, str):  # an endpoint's: the folder of an earlier run
            # By its name, which is its own: the folder above may be written from another place.
            earlier = by_name.get(Path(baseline).name)
            if earlier and earlier.path not in found:
                found[earlier.path] = "another run is held against it"
                left.append(earlier)
    return found


def _shown(table: Path) -> Iterator[Path]:
    with suppress(OSError, ValueError, KeyError, TypeError):
        for row in json.loads(table.read_text(encoding="utf-8"))["rows"]:
            yield (table.parent.parent / row["report"]).parent


def checkpoints_of(run: Run) -> Iterator[Path]:
    """Yield the folders of what the arms of a finished run served."""
    arms = run.document(_REPORT).get("arms")
    for arm in arms.values() if isinstance(arms, dict) else ():
        with suppress(KeyError, TypeError):
            yield Path(arm["checkpoint"]["path"])
        with suppress(KeyError, TypeError):
            yield Path(arm["checkpoint"]["adapter"]["path"])
