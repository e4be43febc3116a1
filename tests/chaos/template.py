"""What undisturbed runs have paid for: each case begins with a copy of it, less what it hurts."""

from __future__ import annotations

import shutil
from pathlib import Path

from infra.store.settings import Settings
from tests.chaos.checkpoints import Checkpoints
from tests.chaos.subjects import Subject
from tests.chaos.world import World
from tests.prefect_server import Prefect

_RUN_SECONDS = 900.0


def make(folder: Path, prefect: Prefect, subject: Subject) -> Path:
    """Run a subject undisturbed, unless that was done; return the cache of all that were."""
    candidate = str(subject.candidate["name"])
    ready = folder / f"{candidate}.ready"
    world = World(folder, prefect, subject)
    if ready.exists():
        return world.cache
    print(f"one undisturbed run of {candidate}", flush=True)
    if not (environments := world.cache / "environments").exists():
        Settings().environments.mkdir(parents=True, exist_ok=True)
        environments.symlink_to(Settings().environments)
    try:
        if world.run(candidate).wait(_RUN_SECONDS) != 0:
            raise AssertionError(world.output(candidate))
    finally:
        world.end_all()
    ready.touch()
    return world.cache


def forget(subject: Subject, cache: Path) -> None:
    """Remove what was paid for the part of a run that is hurt, so that it is paid again."""
    shutil.rmtree(cache / "answers")
    Checkpoints(cache / "checkpoints").forget(subject.makes)
    if subject.makes:
        return
    for scores in (cache / "scores").glob("[!.]*"):
        if f'"{subject.candidate["name"]}-' in (scores / "server.json").read_text():
            shutil.rmtree(scores)
