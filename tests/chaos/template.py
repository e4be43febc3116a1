"""What undisturbed runs have paid for: each case begins with a copy of it, less what it hurts.

Several processes may have one template: whoever comes first makes what is missing, and the others
wait for it. Nothing is made while another one copies.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

from infra.store.settings import Settings
from tests.chaos.checkpoints import Checkpoints
from tests.chaos.subjects import Device, Subject
from tests.chaos.world import World
from tests.prefect_server import Prefect

_RUN_SECONDS = 900.0


def make(folder: Path, prefect: Prefect, subject: Subject, device: Device) -> Path:
    """Run a subject undisturbed, unless that was done; return the cache of all that were."""
    folder = folder / device
    world = World(folder, prefect, subject, device=device)
    with _locked(world.cache, fcntl.LOCK_EX):
        _make(world, folder / f"{subject.undisturbed}.ready")
    return world.cache


def copy(cache: Path, world: World) -> None:
    """Let a world begin with what the undisturbed runs have paid for, less what it hurts."""
    with _locked(cache, fcntl.LOCK_SH):
        world.fill(cache)
    _forget(world.subject, world.cache)


@contextlib.contextmanager
def _locked(cache: Path, how: int) -> Iterator[None]:
    with cache.with_name("lock").open("w") as lock:  # the kernel frees it, whoever dies
        fcntl.flock(lock, how)
        yield


def _make(world: World, ready: Path) -> None:
    if ready.exists():
        return
    world.end_all()  # what a maker left that was killed
    print(f"one undisturbed run of {ready.stem} on {world.device}", flush=True)
    if not (environments := world.cache / "environments").exists():
        Settings().environments.mkdir(parents=True, exist_ok=True)
        environments.symlink_to(Settings().environments)
    try:
        if world.run(ready.stem).wait(_RUN_SECONDS) != 0:
            raise AssertionError(world.output(ready.stem))
    finally:
        world.end_all()
    ready.touch()


def _forget(subject: Subject, cache: Path) -> None:
    shutil.rmtree(cache / "answers")
    Checkpoints(cache / "checkpoints").forget(subject.makes)
    if subject.makes:
        return
    served = f'"{subject.candidate["name"]}-'
    for scores in (cache / "scores").glob("[!.]*"):
        if served in (scores / "server.json").read_text():
            shutil.rmtree(scores)
    for bench in (cache / "benches").glob("[!.]*"):
        if served in bench.read_text():
            bench.unlink()
