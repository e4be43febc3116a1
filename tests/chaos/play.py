"""Plays a case: hurts a run, looks at what is left, starts the same run again."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from infra.contracts.records import Report
from infra.contracts.specs import RunSpec
from infra.store.settings import Settings
from tests.chaos.cases import ENOUGH, Case, Scene, unmount
from tests.chaos.world import DOCUMENTS, SPEC, World, await_that, gone
from tests.prefect_server import Prefect, prefect_server

CLEAN_SECONDS = 35.0
"""Within which nothing of a run may be left."""
_RUN_SECONDS = 600.0


@dataclass
class Row:
    """What came of one case, or of several repeats of it."""

    name: str
    repeats: int = 0
    orphans: int = 0
    """Processes that lived longer than they may."""

    lost: int = 0
    """Answers that had been kept and were asked for again."""

    repaid: int = 0
    """Answers that were in flight when it happened, and not kept."""

    seconds: float = 0.0
    """Until nothing of what was hit was left, the longest."""

    restarts: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def fine(self) -> bool:
        return not (self.orphans or self.lost or self.problems)

    def add(self, other: Row) -> None:
        self.repeats += other.repeats
        self.orphans += other.orphans
        self.lost += other.lost
        self.repaid += other.repaid
        self.seconds = max(self.seconds, other.seconds)
        self.restarts += other.restarts
        self.problems += other.problems


def make_template(folder: Path, prefect: Prefect) -> Path:
    """Pay once for all that the cases do not look at: the checkpoint, and the baseline's tasks."""
    if (ready := folder / "ready").exists():
        return folder / "cache"
    print("one undisturbed run", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    world = World(folder, prefect)
    Settings().environments.mkdir(parents=True, exist_ok=True)
    (world.cache / "environments").symlink_to(Settings().environments)
    run = world.run("template")
    if run.wait(_RUN_SECONDS) != 0:
        raise AssertionError(world.output("template"))
    forget_candidate(world.cache)
    ready.touch()
    return world.cache


def forget_candidate(cache: Path) -> None:
    """Remove what was paid for the candidate's tasks, so that it is asked them again."""
    (candidate,) = RunSpec.model_validate(SPEC).candidates
    for scores in (cache / "scores").glob("[!.]*"):
        if f'"{candidate.name}-' in (scores / "server.json").read_text():
            shutil.rmtree(scores)
    shutil.rmtree(cache / "answers")


def play(case: Case, folder: Path, template: Path, prefect: Prefect) -> Row:
    """Play a case in a folder of its own.

    Raises:
        NotHere: This machine cannot play it.
    """
    with contextlib.ExitStack() as stack:
        if case.own_prefect:
            home = folder / "prefect"
            home.mkdir(parents=True)
            prefect = stack.enter_context(_mortal(home))
        world = World(folder, prefect, case.concurrency)
        stack.callback(unmount, world)
        stack.callback(world.end_all)
        world.fill(template)
        case.prepare(world)
        row = Row(case.name, repeats=1)
        with _noted(row):
            _hurt(case, world, row)
            if case.own_prefect:
                world.prefect = stack.enter_context(_revived(home, prefect))
            case.mend(world)
            _run_again(world, row)
        return row


@contextlib.contextmanager
def _noted(row: Row) -> Iterator[None]:
    try:
        yield
    except AssertionError as error:
        row.problems.append(str(error))


@contextlib.contextmanager
def _mortal(home: Path) -> Iterator[Prefect]:
    with prefect_server(home) as server:
        yield server


def _revived(home: Path, prefect: Prefect) -> contextlib.AbstractContextManager[Prefect]:
    prefect.process.wait()
    return prefect_server(home, port=int(prefect.url.rpartition(":")[2].partition("/")[0]))


def _hurt(case: Case, world: World, row: Row) -> None:
    scene = _begin(case, world)
    stays = _worker_of(scene) if case.worker_stays else set()
    kept, flying, doomed = 0, 0, []
    if scene.engine:
        kept, flying, doomed = world.answers.count(), world.in_flight(), scene.engine.tree
    hit = time.monotonic()
    case.hit(scene)
    if case.dies == "run":
        row.orphans += _await_nothing(world, case.seconds, stays)
    elif case.dies == "engine":
        row.orphans += gone(doomed, case.seconds)
    if case.dies != "nothing":
        row.seconds = time.monotonic() - hit
        row.repaid = max(0, kept + flying - world.answers.count())
    _await_end(case, scene, row)
    if scene.worker:
        scene.worker.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            scene.worker.wait(60)
        scene.worker.kill()  # how long Prefect's worker takes for its own end is not ours
        scene.worker.wait()
    ended = time.monotonic()
    row.orphans += _await_nothing(world, CLEAN_SECONDS)
    row.seconds = max(row.seconds, time.monotonic() - ended)
    _check(world, row)
    row.restarts = sum(
        len(arm.server.restarts) for report in _reports(world) for arm in report.arms.values()
    )


def _worker_of(scene: Scene) -> set[int]:
    """The worker's processes that are none of a run."""
    assert scene.worker and scene.engine
    runs = {scene.engine.driver.pid, *(parent.pid for parent in scene.engine.driver.parents())}
    worker = psutil.Process(scene.worker.pid)
    return {worker.pid} | runs & {child.pid for child in worker.children(recursive=True)} - {
        scene.engine.driver.pid
    }


def _begin(case: Case, world: World) -> Scene:
    scene = Scene(world, None, None, None, "")
    if case.deployed:
        scene.flow_run = world.deploy()
        scene.worker = world.work()
    else:
        scene.run = world.run("run")
    if case.when != "answering":
        return scene

    def answering() -> bool:
        assert scene.run is None or scene.run.poll() is None, world.output("run")[-3000:]
        return world.answers.count() >= ENOUGH

    await_that(answering, _RUN_SECONDS, "a run in the middle of its tasks")
    scene.engine = await_that(world.engine, 10, "an engine")
    # Whoever is not seen alive would not be seen to survive.
    assert {p.pid for p in scene.engine.tree} <= {p.pid for p in world.processes()}
    return scene


def _await_end(case: Case, scene: Scene, row: Row) -> None:
    world = scene.world
    for name, run in {"run": scene.run, **scene.also}.items():
        if run is None:
            continue
        code = await_that(lambda run=run: run.poll() is not None and (run.poll(),), _RUN_SECONDS,
                          f"the end of {name}")[0]  # fmt: skip
        if case.ends == "completes" and code != 0:
            row.problems.append(f"{name} failed: {world.output(name)[-1500:]}")
        if case.ends == "fails" and code == 0:
            row.problems.append(f"{name} completed")
        if code != 0 and case.says not in world.output(name):
            row.problems.append(f"{name} does not say {case.says!r}")
    if case.deployed and case.ends == "completes":
        await_that(lambda: not world.processes(), _RUN_SECONDS, "the end of the flow's process")
    if case.state:
        await_that(lambda: world.state(scene.flow_run) == case.state, 60, f"state {case.state}")


def _await_nothing(world: World, seconds: float, but: Set[int] = frozenset()) -> int:
    """Wait until no process of the world is left, at most so long; return how many are."""
    deadline = time.monotonic() + seconds
    while left := [process for process in world.processes() if process.pid not in but]:
        if time.monotonic() > deadline:
            print(*(f"left: {p.pid} {p.cmdline()}" for p in left), sep="\n")
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            return len(left)
        time.sleep(0.1)
    return 0


def _run_again(world: World, row: Row) -> None:
    run = world.run("again")
    code = run.wait(_RUN_SECONDS)
    if code != 0 or "report: " not in world.output("again"):
        row.problems.append(f"the next run failed: {world.output('again')[-3000:]}")
        return
    row.orphans += _await_nothing(world, CLEAN_SECONDS)
    _check(world, row)
    row.lost += world.answers.paid_twice()
    for report in _reports(world):
        for arm, result in report.arms.items():
            for task in result.tasks.values():
                if task.n != DOCUMENTS:
                    row.problems.append(f"{arm} answered {task.n} of {DOCUMENTS}")
    if world.answers.count() != DOCUMENTS:
        row.problems.append(f"{world.answers.count()} of {DOCUMENTS} answers are kept")
    if records := world.records():
        row.problems.append(f"records are left: {records}")
    partial = [path.name for path in world.cache.glob("*/.*.partial")]
    if partial:
        row.problems.append(f"half-written after a good run: {partial}")


def _check(world: World, row: Row) -> None:
    row.problems += world.flaws()
    if not world.slots_free():
        row.problems.append("a slot is taken")


def _reports(world: World) -> list[Report]:
    return [
        Report.model_validate_json(path.read_text()) for path in world.runs.glob("*/report.json")
    ]
