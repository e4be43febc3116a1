"""What happens to a run, and how it is expected to end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import httpx
import psutil

from infra.machine import cores
from tests.chaos.subjects import LLAMACPP, QUANTIZERS, TIMED, VLLM, Subject
from tests.chaos.world import CONCURRENCY, Engine, World, await_that
from tests.process_marks import lives

ENOUGH = 8
"""Answers that are kept when it happens: the run is in the middle of its tasks."""
_LARGE = "512m"
"""Enough for anything."""


class NotHere(Exception):
    """This machine cannot play the case."""


@dataclass
class Scene:
    """A run, and what a case does to it."""

    world: World
    engine: Engine | None
    """That answers, or makes a checkpoint; none in cases that happen before there is one."""

    run: subprocess.Popen[bytes] | None
    """The flow's process, where a user started it."""

    worker: subprocess.Popen[bytes] | None
    flow_run: str
    """Id of the flow run, where a worker carries it out."""

    also: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    """Further runs by name."""

    kept: list[object] = field(default_factory=list)

    def tree(self) -> Engine:
        assert self.engine is not None
        return self.engine


def _nothing(_: World) -> None:
    pass


@dataclass(frozen=True)
class Case:
    """One way to hurt a run."""

    name: str
    hit: Callable[[Scene], None]
    ends: Literal["completes", "fails", "either"]
    """How the run that was hit ends by itself."""

    dies: Literal["run", "engine", "nothing"] = "nothing"
    """What has to be gone soon after it. Where nothing is, all is soon after the run's own end."""

    seconds: float = 35
    """How soon."""

    deployed: bool = False
    """A worker carries it out."""

    worker_stays: bool = False
    """The worker is none of those that have to be gone."""

    state: str = ""
    """Of the flow run in the end; empty: whatever it is."""

    says: str = ""
    """Part of what it says, unless it may complete or not, and completes."""

    subject: Subject = VLLM
    when: Literal[
        "answering", "making", "writing", "begun", "ahead", "starting", "loading", "timing"
    ] = "answering"
    """Making: the quantizer is in the middle of its work. Writing: there are weights, and not all
    of the checkpoint. Ahead: an engine loads, and no accelerator is taken. Starting: the server's
    process has just begun. Loading: its engine child has begun too, and nothing is answered.
    Timing: all is answered, and its speed is measured."""

    prepare: Callable[[World], None] = _nothing
    """Called before the run."""

    mend: Callable[[World], None] = _nothing
    """Called before the same run is started again."""

    concurrency: int = CONCURRENCY
    """Questions in flight at a time: few make the tasks long."""

    own_prefect: bool = False
    """It needs a Prefect server that it may kill."""


def _loads_ahead(world: World) -> None:
    if world.device == "cpu" or not cores.to_spare():
        raise NotHere("no engine is loaded while a run is looked at")


def _run(scene: Scene) -> psutil.Process:
    assert scene.run
    return psutil.Process(scene.run.pid)


def _loader(scene: Scene) -> psutil.Process:
    found = scene.world.loads_ahead()
    assert found, "it has loaded, and is an engine"
    return found


def _send(to: Callable[[Scene], psutil.Process], number: signal.Signals) -> Callable[[Scene], None]:
    return lambda scene: to(scene).send_signal(number)


def _flow(scene: Scene) -> psutil.Process:
    return scene.tree().driver


def _worker(scene: Scene) -> psutil.Process:
    assert scene.worker
    return psutil.Process(scene.worker.pid)


def _supervisor(scene: Scene) -> psutil.Process:
    return scene.tree().supervisor


def _api(scene: Scene) -> psutil.Process:
    return scene.tree().api


def _core(scene: Scene) -> psutil.Process:
    return scene.tree().core


def _task_raises(scene: Scene) -> None:
    # What it writes at the end of a task has no place to go any more.
    for partial in (scene.world.cache / "scores").glob(".*.partial"):
        shutil.rmtree(partial)
        partial.touch()


def _make_way(world: World) -> None:
    for partial in (world.cache / "scores").glob(".*.partial"):
        partial.unlink()


def _cancel(scene: Scene) -> None:
    assert scene.world.prefect
    url = f"{scene.world.prefect.url}/flow_runs/{scene.flow_run}/set_state"
    answer = httpx.post(url, json={"state": {"type": "CANCELLING"}}, trust_env=False, timeout=30)
    answer.raise_for_status()
    assert answer.json()["status"] == "ACCEPT", answer.text


def _driver_and_supervisor(scene: Scene) -> None:
    both = [scene.tree().supervisor, scene.tree().driver]
    for process in both:
        process.suspend()  # so that neither sees the other one die
    for process in both:
        process.kill()


def _kill_while_writing(scene: Scene) -> None:
    assert scene.run
    scene.run.kill()
    assert scene.world.checkpoints.half(), "it was killed when all was written"


def _prefect_dies(scene: Scene) -> None:
    assert scene.world.prefect
    server = psutil.Process(scene.world.prefect.process.pid)
    for process in [server, *server.children(recursive=True)]:
        process.kill()


def _steal_port(scene: Scene) -> None:
    port = await_that(scene.world.port, 120, "an engine with a port")
    scene.kept.append(socket.create_server(("127.0.0.1", port)))


def _kill_in_both_timings(scene: Scene) -> None:
    doomed = _core(scene)
    doomed.kill()
    await_that(lambda: not lives(doomed), 30, "the end of the first engine")
    known = {process.pid for process in scene.tree().tree}

    def timed_again() -> Engine | None:
        engine = scene.world.engine()
        fresh = engine is not None and engine.core.pid not in known and engine.core != engine.api
        return engine if fresh and scene.world.timing() else None

    await_that(timed_again, 300, "a timing by the next engine", every=0.005).core.kill()


def _start_another(scene: Scene) -> None:
    scene.also["another"] = scene.world.run("another")


# --- disks ------------------------------------------------------------------------------------


def _mount(folder: Path, size: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "assay-chaos", str(folder)],
        capture_output=True, text=True, check=False,
    ) if shutil.which("mount") else None  # fmt: skip
    if done is None or done.returncode != 0:
        raise NotHere("no small disk can be mounted")


def _unfill(world: World) -> None:
    (world.runs / "filler").unlink()


def _fill(scene: Scene) -> None:
    with (scene.world.runs / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"\0" * 4096)
        except OSError:
            pass


def _no_room_for_a_checkpoint(world: World) -> None:
    """Put the checkpoints on a disk that holds those that are there and no other."""
    folder = world.cache / "checkpoints"
    kept = folder.rename(folder.with_name("kept"))
    size = sum(file.stat().st_size for file in kept.rglob("*") if file.is_file())
    _mount(folder, f"{size // 1024 + world.subject.room_kib}k")
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    shutil.rmtree(kept)


def _more_room(world: World) -> None:
    subprocess.run(
        ["mount", "-o", f"remount,size={_LARGE}", str(world.cache / "checkpoints")], check=True
    )


def unmount(world: World) -> None:
    """Take away the disks of a case."""
    for folder in (world.runs, world.cache / "checkpoints"):
        if os.path.ismount(folder):
            subprocess.run(["umount", "-l", str(folder)], check=True)


_INTERRUPTED = "assay: interrupted"
TERM, KILL, STOP, INT = signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP, signal.SIGINT
_SERVED = (
    Case("task-raises", _task_raises, "fails", mend=_make_way),
    Case("cancelled", _cancel, "fails", "run", deployed=True, worker_stays=True,
         state="CANCELLED", concurrency=1),
    Case("flow-term", _send(_flow, TERM), "fails", "run"),
    Case("flow-int", _send(_flow, INT), "fails", "run", says=_INTERRUPTED),
    Case("flow-kill", _send(_flow, KILL), "fails", "run"),
    Case("worker-term", _send(_worker, TERM), "fails", "run", deployed=True),
    Case("worker-kill", _send(_worker, KILL), "fails", "run", deployed=True, state="CRASHED"),
    Case("supervisor-term", _send(_supervisor, TERM), "completes", "engine"),
    Case("supervisor-kill", _send(_supervisor, KILL), "completes", "engine"),
    Case("flow-and-supervisor-kill", _driver_and_supervisor, "fails", "run"),
    Case("server-term", _send(_api, TERM), "completes", "engine"),
    Case("server-kill", _send(_api, KILL), "completes", "engine"),
    Case("server-hangs", _send(_api, STOP), "completes", "engine"),
)  # fmt: skip
"""Whatever the engine."""

_OF_VLLM = (
    Case("engine-term", _send(_core, TERM), "completes", "engine"),
    Case("engine-kill", _send(_core, KILL), "completes", "engine"),
    Case("engine-hangs", _send(_core, STOP), "completes", "engine"),
    Case("prefect-gone", _prefect_dies, "either", own_prefect=True),
    Case("disk-full-logging", _fill, "either", mend=_unfill, says="No space left on device",
         prepare=lambda world: _mount(world.runs, _LARGE)),
    Case("port-stolen", _steal_port, "either", when="begun", says="port"),
    Case("two-at-once", _start_another, "completes"),
)  # fmt: skip
"""About the machine around it, or its engine child."""

_AHEAD = (
    Case("ahead-flow-kill", _send(_run, KILL), "fails", "run", when="ahead", prepare=_loads_ahead),
    Case("ahead-flow-int", _send(_run, INT), "fails", "run", when="ahead", prepare=_loads_ahead,
         says=_INTERRUPTED),
    Case("ahead-loader-kill", _send(_loader, KILL), "completes", when="ahead",
         prepare=_loads_ahead),
)  # fmt: skip
"""The run is still looked at, and its first engine loads beside that."""

_STARTED = (
    Case("starting-flow-kill", _send(_flow, KILL), "fails", "run", when="starting"),
    Case("starting-engine-kill", _send(_core, KILL), "fails", "engine", when="starting",
         says="killed by SIGKILL"),
    Case("loading-flow-kill", _send(_flow, KILL), "fails", "run", when="loading"),
    Case("loading-engine-kill", _send(_core, KILL), "fails", "engine", when="loading"),
)  # fmt: skip
"""Nothing is answered yet. An engine that does not come up is not started again."""

_TIMED = (
    Case("timing-flow-kill", _send(_flow, KILL), "fails", "run", when="timing", subject=TIMED),
    Case("timing-cancelled", _cancel, "fails", "run", when="timing", subject=TIMED, deployed=True,
         worker_stays=True, state="CANCELLED"),
    # It is started once more for what was to be measured, and no second time.
    Case("timing-engine-kill", _send(_core, KILL), "completes", "engine", when="timing",
         subject=TIMED, says="timed at 1 points"),
    Case("timing-engine-kill-twice", _kill_in_both_timings, "completes", "engine", when="timing",
         subject=TIMED, says="not timed. "),
)  # fmt: skip
"""All scores are kept by then."""

_MADE = (
    Case("flow-term", _send(_flow, TERM), "fails", "run", when="making"),
    Case("flow-int", _send(_flow, INT), "fails", "run", when="making", says=_INTERRUPTED),
    Case("flow-kill", _send(_flow, KILL), "fails", "run", when="making"),
    Case("cancelled", _cancel, "fails", "run", when="making", deployed=True, worker_stays=True,
         state="CANCELLED"),
    Case("supervisor-kill", _send(_supervisor, KILL), "fails", "engine", when="making"),
    Case("flow-and-supervisor-kill", _driver_and_supervisor, "fails", "run", when="making"),
    Case("quantizer-kill", _send(_api, KILL), "fails", "engine", when="making",
         says="killed by SIGKILL"),
    Case("writing-kill", _kill_while_writing, "fails", "run", when="writing"),
    Case("disk-full", lambda scene: None, "fails", when="begun", mend=_more_room,
         says="The disk of the checkpoints is full", prepare=_no_room_for_a_checkpoint),
)  # fmt: skip
"""Whatever the method."""


def _of(subject: Subject, cases: tuple[Case, ...]) -> list[Case]:
    return [replace(case, name=f"{subject.name}-{case.name}", subject=subject) for case in cases]


CASES = {
    case.name: case
    for case in (
        *_SERVED,
        *_OF_VLLM,
        *_AHEAD,
        *_STARTED,
        *_TIMED,
        *_of(LLAMACPP, _SERVED),
        *(case for subject in QUANTIZERS for case in _of(subject, _MADE)),
    )
}
"""Every case by its name; those without a subject in theirs are of vLLM."""
