"""A store and runs as they are left behind, with times and contents of a test's choosing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from infra.housekeeping.plan import Plan, planned
from infra.housekeeping.policy import Policy
from infra.store import store_format, usage
from infra.store.runs_identity import identify, identity_of
from infra.store.settings import Settings
from infra.store.usage import FOLDER

DAY = 86_400.0


class Made:
    """A store in a folder, beside a folder of runs."""

    def __init__(self, folder: Path) -> None:
        self.cache, self.runs = folder / "cache", folder / "runs"
        identify(self.runs)
        (folder / "leases").mkdir()
        self.settings = Settings(cache=self.cache, runs=self.runs, leases=folder / "leases")
        store_format.begin(self.cache)

    def entry(self, name: str, *, days: float = 0, size: int = 10_000) -> Path:
        """Put a folder with a file into the store, as if it had been made some days ago."""
        path = self.cache / name
        path.mkdir(parents=True)
        (path / "content").write_bytes(os.urandom(size))
        aged(path, days)
        return path

    def file(self, name: str, *, days: float = 0, size: int = 10_000) -> Path:
        """Put a file into the store."""
        path = self.cache / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
        aged(path, days)
        return path

    def run(
        self, label: str = "sample", *, days: float = 0, finished: bool = True, **spec: object
    ) -> Path:
        """Leave a run that began some days ago."""
        began = datetime.fromtimestamp(time.time() - days * DAY, UTC)
        path = self.runs / f"{label}-{began:%Y%m%d-%H%M%S}-{uuid4().hex[:8]}"
        (path / "logs").mkdir(parents=True)
        (path / "logs" / "server.log").write_text("line\n" * 3_000)
        (path / "spec.json").write_text(json.dumps(spec))
        if finished:
            (path / "report.json").write_text(json.dumps({"arms": {}}))
        for inner in [*path.rglob("*"), path]:
            aged(inner, days)
        return path

    def used(
        self, run: Path, *names: str, folder: str | None = None, view: str | None = None,
        days: float = 0,
    ) -> Path:  # fmt: skip
        """Leave the list of a process that is gone.

        Args:
            run: For which it worked.
            names: What it used.
            folder: Identity of the folder of runs; what it has if not given, none if empty.
            view: What files it saw; those of this process if not given.
            days: Since when it is gone.
        """
        path = self.cache / FOLDER / f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}.jsonl"
        path.parent.mkdir(exist_ok=True)
        folder = identity_of(run.parent) if folder is None else folder
        lines = [["view", usage._view() if view is None else view]]
        lines += [["folder", f"{folder} {run.parent}"]] if folder else []
        lines += [*(["used", name] for name in names), ["run", str(run)]]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        aged(path, days)
        return path

    def plan(self, **policy: object) -> Plan:
        """Return what would be freed."""
        return planned(Policy(**policy), self.settings, [self.runs])  # type: ignore[arg-type]


def aged(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(path, (then, then), follow_symlinks=False)


def reasons(plan: Plan, free: bool) -> dict[str, str]:
    """Return what goes or stays by its last name, and why."""
    return {item.path.name: item.why for item in plan.items if item.free == free}


def disk_use(*paths: Path) -> int:
    """Return the bytes that paths take, as `du` counts them."""
    there = [path for path in paths if path.exists()]
    if not there:
        return 0
    said = subprocess.run(
        ["du", "--summarize", "--total", "--block-size=1", *there],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return int(said.splitlines()[-1].split()[0])
