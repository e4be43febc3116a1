"""Has the engine of the arm that comes next loaded while something else is done for the run.

Only for an accelerator, and where cores and memory are to spare: elsewhere what loads would take
the time of what is made or asked meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import BASELINE, RunSpec
from infra.engines.port import Setup
from infra.engines.registry import engine_of
from infra.machine import cores, preloaded
from infra.machine.device import detect, gpus
from infra.machine.environments import locate
from infra.machine.preloaded import Preloading
from infra.models.memory_need import main_memory
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings

_MEMORY_BYTES = 16 * 2**30
"""Of main memory. What waits holds one to two gigabytes of it, beside what makes a checkpoint."""
_FREE_BYTES = _MEMORY_BYTES // 2
"""Of it, when a run begins, beside what others have loaded."""


def loading() -> AbstractContextManager[object]:
    """Let engines be loaded ahead while the block runs, or one around it, if that slows nothing."""
    if preloaded.here() or not cores.to_spare():
        return nullcontext()
    total, free = main_memory()
    return Preloading() if total >= _MEMORY_BYTES and free >= _FREE_BYTES else nullcontext()


@contextmanager
def loading_first(spec: RunSpec, settings: Settings) -> Iterator[None]:
    """Let engines be loaded ahead while the block runs: at once that of a run's first arm.

    It is loaded while the run is looked at, if Assay has built the engine and the model is a local
    one. What is wrong with either is said by who looks at the run.

    Args:
        spec: The run.
        settings: Where environments are.
    """
    with loading() as ahead:
        if ahead is not None:
            # Nothing depends on it, and whatever fails here is looked at next.
            with suppress(Exception):
                _load_first(spec, settings)
        yield


def _load_first(spec: RunSpec, settings: Settings) -> None:
    name, arm = next(iter(spec.evaluated.items()))
    serving, model = arm.serving, Path(arm.model.id).expanduser()
    program = engine_of(serving).environment
    # An interpreter of the user's own would be asked for its packages first, for up to minutes.
    own = serving.python or settings.interpreters.get(program)
    if own or arm.model.source != "local" or not model.is_dir():
        return
    device = detect(serving.computes_on)
    if device.kind == "cpu":
        return
    environment, there = locate(program, device.kind, settings)
    if there:
        # The run has no folder yet. The next engine that it loads says in its log what hinders it.
        load(name, model, spec=spec, environment=environment, log=Path(os.devnull))


def load(
    name: str, model: Path, *, spec: RunSpec, environment: PythonEnvironment, log: Path
) -> None:
    """Have the engine of an arm loaded.

    Args:
        name: Of the arm.
        model: Folder with its config.json, or one of the same architecture.
        spec: The run.
        environment: Interpreter with the engine.
        log: File that receives what is printed meanwhile.
    """
    serving = spec.arms[name].serving
    device = detect(serving.computes_on)
    ahead = preloaded.here()
    # Which GPU it gets is not known yet; what it looks up of one must be true of each.
    alike = len({gpu.name for gpu in gpus()}) <= 1
    if ahead is not None and device.kind != "cpu" and alike:
        setup = Setup(model, serving, environment, device)
        engine_of(serving).load(setup, ahead, log)


def load_next(
    name: str,
    repeat: bool,
    model: Path,
    *,
    spec: RunSpec,
    environment: PythonEnvironment,
    run: RunFolder,
) -> None:
    """Have the engine loaded of whoever comes after an arm, if that is served from the same place.

    Args:
        name: Of the arm that is asked now.
        repeat: Whether it is asked a second time.
        model: Its folder; the next one may have another, with which nothing is taken.
        spec: The run.
        environment: Its interpreter with the engine.
        run: Receives the log.
    """
    names = [*spec.evaluated]
    follower = name
    if name != BASELINE or repeat or not spec.evaluation.noise_floor:
        later = names[names.index(name) + 1 :]
        if not later:
            return
        follower = later[0]
    one, other = (spec.arms[arm].serving for arm in (name, follower))
    if (one.python, one.computes_on, engine_of(one)) == (
        other.python, other.computes_on, engine_of(other),
    ):  # fmt: skip
        log = run.log(f"loading-{follower}")
        load(follower, model, spec=spec, environment=environment, log=log)
