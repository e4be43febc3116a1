"""Programs that load before they are told what to do."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.contracts.errors import AcceleratorsTaken, ProcessesLeft
from infra.contracts.progress import Silent
from infra.machine import leases, preloaded
from infra.machine.device import Device
from infra.machine.lease_records import LeaseRecord
from infra.machine.leases import Lease, lease, sweep
from infra.machine.preloaded import Preloading, begun
from infra.machine.processes import Child
from infra.store.settings import Settings
from tests.process_marks import Marked

ROOT = Path(__file__).parents[3]
CPU = Device(kind="cpu", name="a processor", count=1, memory_bytes=1)

PROGRAM = """
import json, os, signal, socket, subprocess, sys, time
channel = socket.socket(fileno=int(sys.argv[-1]))
print("loading", flush=True)
if "stubborn" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "broken" in sys.argv: sys.exit(3)
if "slow" in sys.argv: time.sleep(600)
channel.send(b"1.50")
message, locks, _, _ = socket.recv_fds(channel, 1 << 20, 64)
if not message: sys.exit(0)
told = json.loads(message)
held = [os.path.basename(os.readlink(f"/proc/self/fd/{lock}")) for lock in locks]
with open(told["log"], "a") as log:
    print(json.dumps({"pid": os.getpid(), "told": told, "held": held}), file=log)
if "leaves" in sys.argv: sys.exit(5)
if "works" in sys.argv:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True)"
    worker = subprocess.Popen(
        [sys.executable, "-I", "-c", deaf + "; time.sleep(600)"], stdout=subprocess.PIPE
    )
    worker.stdout.readline()
    with open(told["log"], "a") as log: print("works", file=log)
time.sleep(600)
"""
"""As `infra/engines/vllm/loaded.py`, without vLLM."""

PLAIN = [sys.executable, "-I", "-c", "import os; print('plain', os.environ['SECRET'], flush=True);"
         "import time; time.sleep(600)"]  # fmt: skip


def program(*faults: str) -> list[str]:
    return [sys.executable, "-I", "-c", PROGRAM, *faults]


class Bench:
    """A run with a folder of leases of its own."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "logs" / "server.log"
        self.loading = folder / "loading.log"
        self.settings = Settings(leases=folder / "leases", slot_wait_seconds=0)
        self.marked = Marked()
        self.env = self.marked.env | {"VARIABLE": "1"}

    def begin(self, ahead: Preloading, *faults: str, **env: str) -> None:
        ahead.begin(program(*faults), env=self.env | env, log=self.loading)

    def begun(
        self, *faults: str, lease: Lease | None = None, **env: str
    ) -> AbstractContextManager[tuple[Child, float]]:
        return begun(
            program(*faults), PLAIN, ["--port", "1"],
            env=self.env | env | {"SECRET": "hidden"}, secrets=["SECRET"],
            log=self.log, lease=lease, on_wait=lambda: None,
        )  # fmt: skip

    def lease(self) -> AbstractContextManager[Lease]:
        return lease(CPU, what="a test", settings=self.settings, progress=Silent())

    def unswept(self, wait_seconds: float) -> AbstractContextManager[object]:
        """Take the accelerator as another user, who may end nobody's processes."""
        return leases.accelerators.take(
            leases.accelerators.allowed(CPU, None) or (), 1, folder=self.settings.leases,
            wait_seconds=wait_seconds, prepare=lambda: None, on_wait=lambda _: None,
            holders=lambda: "",
        )  # fmt: skip

    def records(self) -> list[LeaseRecord]:
        paths = self.settings.leases.glob("*.json")
        return [LeaseRecord.model_validate_json(path.read_text()) for path in paths]

    def written(self) -> str:
        """Return what is in the log, as soon as something is."""
        deadline = time.monotonic() + 60
        while not (self.log.is_file() and (text := self.log.read_text()).endswith("\n")):
            assert time.monotonic() < deadline, "nothing was ever written"
            time.sleep(0.02)
        return text

    def heard(self) -> dict[str, Any]:
        """Return what the program was told, by what it wrote."""
        found: dict[str, Any] = json.loads(self.written())
        return found


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(leases, "GRACE_SECONDS", 0.5)
    bench = Bench(tmp_path)
    yield bench
    assert bench.marked.wait_gone() == []


def test_what_was_loaded_goes_on_with_what_it_is_told(bench: Bench) -> None:
    with Preloading() as ahead:
        bench.begin(ahead)
        ahead.settle(Silent())
        with bench.begun() as (child, seconds):
            heard = bench.heard()
            assert seconds == 1.5
            assert heard["told"]["arguments"] == ["--port", "1"]
            assert heard["told"]["environment"] == {"SECRET": "hidden"}, "TMPDIR is its own"
            (process,) = psutil.Process(child.pid).children()
            assert process.pid == heard["pid"]
            assert "hidden" not in " ".join([*process.cmdline(), *process.environ().values()])
            assert child.log == bench.log
            assert bench.loading.read_text() == "loading\n"
        assert not psutil.pid_exists(heard["pid"])
        with bench.begun():  # it is taken once
            assert bench.written() == "plain hidden\n"


def test_it_is_heard_beside_any_number_of_open_files(bench: Bench) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, limits[1]), limits[1]))
    with contextlib.ExitStack() as files:
        files.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        while files.enter_context(Path(os.devnull).open()).fileno() < 1024:
            pass
        with Preloading() as ahead:
            bench.begin(ahead)
            ahead.settle(Silent())
            with bench.begun() as (_, seconds):
                assert seconds == 1.5


def test_it_holds_the_accelerators_from_then_on(bench: Bench) -> None:
    with Preloading() as ahead:
        bench.begin(ahead)
        with bench.lease() as held:
            with bench.begun(lease=held) as (child, _):
                assert bench.heard()["held"] == ["cpu-0.lock"]
                own = next(one for one in bench.records() if one.supervisor)
                assert own.mark == child.mark != held.record.mark
                assert own.supervisor and own.supervisor.pid == child.pid
                assert own.command == tuple(PLAIN)
                with pytest.raises(AcceleratorsTaken), bench.lease():
                    pytest.fail("the accelerator was taken twice")
            assert [one.supervisor for one in bench.records()] == [None]
    assert bench.records() == []


DRIVER = """
import os, sys, time
from pathlib import Path
from infra.contracts.progress import Silent
from infra.machine import processes
from infra.machine.preloaded import Preloading
from tests.infra.machine.test_preloaded import Bench
processes.GRACE_SECONDS = 2
bench = Bench(Path(sys.argv[1]))
bench.env |= {name: os.environ[name] for name in bench.env if name in os.environ}
with Preloading() as ahead:
    bench.begin(ahead, *sys.argv[3:])
    ahead.settle(Silent())
    if sys.argv[2] == "waits":
        print("waits", flush=True)
        time.sleep(600)
    with bench.lease() as held, bench.begun(*sys.argv[3:], lease=held) as (child, _):
        print(child.pid, flush=True)
        time.sleep(600)
"""


@pytest.mark.parametrize("doing", ["waits", "goes on"])
def test_nothing_outlives_a_killed_driver(bench: Bench, tmp_path: Path, doing: str) -> None:
    command = [sys.executable, "-c", DRIVER, str(tmp_path), doing, "stubborn"]
    with subprocess.Popen(
        command, cwd=ROOT, env=bench.marked.env, stdout=subprocess.PIPE
    ) as driver:
        assert driver.stdout
        driver.stdout.readline()
        driver.kill()
    assert bench.marked.wait_gone() == []
    with bench.lease():
        pass


def test_the_accelerators_of_a_killed_driver_stay_taken_as_long_as_a_worker_lives(
    bench: Bench, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", DRIVER, str(tmp_path), "goes on", "works"]
    with subprocess.Popen(
        command, cwd=ROOT, env=bench.marked.env, stdout=subprocess.PIPE
    ) as driver:
        assert driver.stdout
        driver.stdout.readline()
        while "works" not in bench.written():
            time.sleep(0.02)
        driver.kill()
    with bench.unswept(wait_seconds=60):
        # Only who supervised them may still be there, for a moment.
        assert [one for one in bench.marked.living() if "supervise.py" not in str(one)] == []


def test_what_lost_its_supervisor_too_is_swept(bench: Bench, tmp_path: Path) -> None:
    command = [sys.executable, "-c", DRIVER, str(tmp_path), "goes on", "stubborn"]
    with subprocess.Popen(
        command, cwd=ROOT, env=bench.marked.env, stdout=subprocess.PIPE
    ) as driver:
        assert driver.stdout
        supervisor = int(driver.stdout.readline())
        bench.heard()
        os.kill(driver.pid, signal.SIGSTOP)  # so that it cannot end anything meanwhile
        os.kill(supervisor, signal.SIGKILL)
        driver.kill()
    assert len(bench.marked.living()) == 1, "it listens to nobody"
    with pytest.raises(AcceleratorsTaken), bench.unswept(wait_seconds=0):
        pytest.fail("the accelerator was taken twice")
    assert sweep(bench.settings, Silent()) == []
    assert bench.marked.living() == []
    assert bench.records() == []


@pytest.mark.parametrize("changed", [{"VARIABLE": "2"}, {"ANOTHER": "1"}])
def test_nothing_is_taken_that_was_loaded_for_something_else(
    bench: Bench, changed: dict[str, str]
) -> None:
    with Preloading() as ahead:
        bench.begin(ahead)
        with bench.begun(**changed) as (_, seconds):
            assert bench.written() == "plain hidden\n"
            assert seconds == 0


@pytest.mark.parametrize("settled", [True, False])
def test_what_ended_while_it_loaded_costs_nothing(bench: Bench, settled: bool) -> None:
    with Preloading() as ahead:
        bench.begin(ahead, "broken")
        if settled:
            ahead.settle(Silent())
        with bench.begun("broken"):
            assert bench.written() == "plain hidden\n"


def test_what_ends_as_it_is_told_is_started_as_ever(bench: Bench) -> None:
    with Preloading() as ahead, bench.lease() as held:
        bench.begin(ahead)
        ahead.settle(Silent())
        there = ahead._there
        assert there
        os.kill(psutil.Process(there.child.pid).children()[0].pid, signal.SIGSTOP)
        there._channel.close()
        with bench.begun(lease=held):
            assert bench.written() == "plain hidden\n"
        assert [one.mark for one in bench.records()] == [held.record.mark]


def test_what_is_not_taken_ends_with_the_run(bench: Bench) -> None:
    with Preloading() as ahead:
        bench.begin(ahead)
        bench.begin(ahead)
        ahead.settle(Silent())
        assert len(bench.marked.living()) == 2, "one process and its supervisor"
        bench.begin(ahead, "another")
        ahead.settle(Silent())
        assert len(bench.marked.living()) == 2
    assert bench.marked.living() == []


def test_who_waits_for_a_moment_keeps_what_is_loaded(bench: Bench) -> None:
    preloaded.let_go(1000.0)  # a run that loads nothing
    with Preloading() as ahead:
        bench.begin(ahead)
        preloaded.let_go(59.0)
        assert ahead._there
        preloaded.let_go(61.0)
        assert ahead._there is None
        assert bench.marked.living() == []


def test_what_survives_its_end_is_said_beside_what_went_wrong_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(child: Child) -> None:
        ended(child)
        raise ProcessesLeft("One survived SIGKILL.")

    ended = Child.stop
    monkeypatch.setattr(Child, "stop", stop)
    with pytest.raises(ValueError, match="the run is refused") as refused, Preloading() as ahead:
        bench.begin(ahead)
        raise ValueError("the run is refused")
    assert refused.value.__notes__ == ["One survived SIGKILL."]
    with pytest.raises(ProcessesLeft), Preloading() as ahead:
        bench.begin(ahead)


def test_what_times_waits_for_what_loads(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preloaded, "_LOADING_SECONDS", 1)
    preloaded.settle(Silent())  # without a run that loads
    with Preloading() as ahead:
        bench.begin(ahead)
        preloaded.settle(Silent())
        assert ahead._there
        bench.begin(ahead, "slow")
        preloaded.settle(Silent())
        assert ahead._there is None, "it took too long"


def test_the_end_of_what_was_loaded_is_told(bench: Bench) -> None:
    with Preloading() as ahead:
        bench.begin(ahead, "leaves")
        with bench.begun("leaves") as (child, _):
            assert child.wait(60) == 5
