"""Plays a case: hurts a run, looks at what is left, starts the same run again."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from infra.contracts.records import Report
from tests.chaos import gpu_memory, template
from tests.chaos.cases import ENOUGH, Case, Scene, unmount
from tests.chaos.checkpoints import Checkpoints
from tests.chaos.subjects import DOCUMENTS, Device
from tests.chaos.world import World, await_that, gone
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
    """Answers that had been kept and were asked for again, or checkpoints made again."""

    repaid: int = 0
    """Answers, or checkpoints, that were in flight when it happened, and not kept."""

    seconds: float = 0.0
    """Until nothing of what was hit was left, the longest."""

    mib_left: int | None = None
    """GPU memory that was held longer than it may; None where no GPU shows whose it is."""

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
        if other.mib_left is not None:
            self.mib_left = (self.mib_left or 0) + other.mib_left
        self.restarts += other.restarts
        self.problems += other.problems


def play(case: Case, folder: Path, paid: Path, prefect: Prefect, device: Device) -> Row:
    """Play a case in a folder of its own.

    Args:
        case: What happens.
        folder: Receives all that it leaves.
        paid: Cache of undisturbed runs.
        prefect: Server that records the runs.
        device: What is computed on.

    Raises:
        NotHere: This machine cannot play it.
    """
    with contextlib.ExitStack() as stack:
        if case.own_prefect:
            home = folder / "prefect"
            home.mkdir(parents=True)
            prefect = stack.enter_context(_mortal(home))
        world = World(folder, prefect, case.subject, case.concurrency, device)
        stack.callback(unmount, world)
        stack.callback(world.end_all)
        template.copy(paid, world)
        case.prepare(world)
        row = Row(case.name, repeats=1)
        with _noted(row):
            _hurt(case, world, row)
            if case.own_prefect:
                world.prefect = stack.enter_context(_revived(home, prefect))
            case.mend(world)
            made = world.checkpoints.made()
            _run_again(world, row)
            if case.subject.makes:
                _check_made(world, made, paid, row)
            else:
                _check_answers(world, row)
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
    with gpu_memory.seen() as seen:
        scene = _begin(case, world)
    stays = _worker_of(scene) if case.worker_stays else set()
    kept, flying, doomed = 0, 0, []
    if scene.engine:
        doomed = scene.engine.tree
    pids = {process.pid for process in doomed}
    if case.when == "answering":
        kept, flying = world.answers.count(), world.in_flight()
    if case.when == "timing":
        kept = world.answers.count()
        assert kept == DOCUMENTS, f"{kept} answers are kept when it is timed"
    hit = time.monotonic()
    case.hit(scene)
    if case.when == "making":
        row.orphans += _outlived(scene, doomed, case.seconds)
    if case.dies == "run":
        row.orphans += _await_nothing(world, case.seconds, stays)
    elif case.dies == "engine":
        row.orphans += gone(doomed, case.seconds)
    if case.dies != "nothing":
        row.seconds = time.monotonic() - hit
        if case.when in {"answering", "timing"}:
            row.repaid = max(0, kept + flying - world.answers.count())
        _check_memory(row, pids, seen)
    _await_end(case, scene, row)
    if scene.worker:
        scene.worker.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            scene.worker.wait(60)
        scene.worker.kill()  # how long Prefect's worker takes for its own end is not ours
        scene.worker.wait()
    ended = time.monotonic()
    row.orphans += _await_nothing(world, CLEAN_SECONDS)
    _check(world, row)
    row.seconds = max(row.seconds, time.monotonic() - ended)
    if not row.mib_left:
        _check_memory(row, pids | world.known, seen)
    if case.when == "making" and world.checkpoints.answered():
        row.problems.append("the quantizer was not ended: it came to its end")
    row.restarts = sum(
        len(arm.server.restarts) for report in _reports(world) for arm in report.arms.values()
    )


def _outlived(scene: Scene, doomed: list[psutil.Process], seconds: float) -> int:
    """Return how many live when a run has ended that could end them itself.

    The sample is small: a quantizer that nobody ends is soon gone as well, because it is done.
    """
    if scene.run is None:
        return 0
    with contextlib.suppress(subprocess.TimeoutExpired):
        if scene.run.wait(seconds) != -signal.SIGKILL:
            return gone(doomed, 0)
    return 0


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
    if case.when == "begun":
        return scene
    moments: dict[str, Callable[[], object]] = {
        "answering": lambda: world.answers.count() >= ENOUGH,
        "ahead": world.loads_ahead,
        "starting": world.engine,
        "loading": world.loading,
        "timing": world.timing,
        "making": lambda: case.subject.phase in world.phases(),
        "writing": lambda: any(
            file.suffix in {".safetensors", ".gguf"} and file.stat().st_size
            for partial in world.checkpoints.half()
            for file in partial.glob("[!.]*")
        ),
    }

    def there() -> bool:
        assert scene.run is None or scene.run.poll() is None, world.output("run")[-3000:]
        return bool(moments[case.when]())

    await_that(there, _RUN_SECONDS, f"a run that is {case.when}", every=0.005)
    if case.when in {"ahead", "writing"}:
        return scene
    scene.engine = await_that(world.engine, 10, "an engine or a quantizer")
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
        if (code != 0 or case.ends == "completes") and case.says not in world.output(name):
            row.problems.append(f"{name} does not say {case.says!r}")
    if case.deployed and case.ends == "completes":
        await_that(lambda: not world.processes(), _RUN_SECONDS, "the end of the flow's process")
    if case.state:
        await_that(lambda: world.state(scene.flow_run) == case.state, 60, f"state {case.state}")


def _check_memory(row: Row, pids: Set[int], seen: Set[int]) -> None:
    held = gpu_memory.await_free(pids, CLEAN_SECONDS)
    if held or pids & seen:  # else it had none yet, or the driver does not say whose memory it is
        row.mib_left = sum(held.values())
    row.problems += [f"GPU memory is held for pid {pid}: {mib} MiB" for pid, mib in held.items()]


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
    before = _reports(world)
    run = world.run("again")
    code = run.wait(_RUN_SECONDS)
    if code != 0 or "report: " not in world.output("again"):
        row.problems.append(f"the next run failed: {world.output('again')[-3000:]}")
        return
    row.orphans += _await_nothing(world, CLEAN_SECONDS)
    _check(world, row)
    for report in _reports(world):
        for arm, result in report.arms.items():
            for task in result.tasks.values():
                if task.n != DOCUMENTS:
                    row.problems.append(f"{arm} answered {task.n} of {DOCUMENTS}")
            if world.subject.timed and result.bench is None and report not in before:
                row.problems.append(f"the next run did not time {arm}")
    if records := world.records():
        row.problems.append(f"records are left: {records}")
    if folders := world.folders():
        row.problems.append(f"temporary files are left: {folders}")
    partial = [path.name for path in world.cache.glob("*/.*.partial")]
    if partial:
        row.problems.append(f"half-written after a good run: {partial}")


def _check_answers(world: World, row: Row) -> None:
    row.lost += world.answers.paid_twice()
    if world.answers.count() != DOCUMENTS:
        row.problems.append(f"{world.answers.count()} of {DOCUMENTS} answers are kept")


def _check_made(world: World, before: dict[str, int], paid: Path, row: Row) -> None:
    """Look at what was made again: that alone, of the same bytes, so that its scores are kept."""
    made = world.checkpoints.made()
    row.lost += len(before.items() - made.items())
    row.repaid = len(made.keys() - before.keys())
    digests = world.checkpoints.digests()
    undisturbed = set(Checkpoints(paid / "checkpoints").digests().values())
    for name in made.keys() - before.keys():
        if digests[name] not in undisturbed:
            row.problems.append(f"{name} is not what an undisturbed run makes")
    if scores := {path.name for path in (world.cache / "scores").glob("[!.]*")} - {
        path.name for path in (paid / "scores").glob("[!.]*")
    }:
        row.problems.append(f"scores were paid for again: {', '.join(scores)}")


def _check(world: World, row: Row) -> None:
    row.problems += world.flaws()
    # A process that is ending gives up its memory, by which it is seen, before its files.
    deadline = time.monotonic() + CLEAN_SECONDS
    while not world.slots_free():
        if time.monotonic() > deadline:
            row.problems.append("a slot is taken")
            return
        time.sleep(0.1)


def _reports(world: World) -> list[Report]:
    return [
        Report.model_validate_json(path.read_text()) for path in world.runs.glob("*/report.json")
    ]
