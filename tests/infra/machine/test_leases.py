from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest

from infra.contracts.errors import AcceleratorsTaken, PreflightError, ProcessesLeft
from infra.machine import device, lease_records, leases, process_trees
from infra.machine.device import Device
from infra.machine.lease_records import LeaseRecord
from infra.machine.leases import lease, sweep
from infra.machine.process_trees import MARK, Identity
from infra.machine.processes import run, start
from infra.store.settings import Settings
from tests.process_marks import Marked, lives
from tests.stand_in_driver import Driver, present

ROOT = Path(__file__).parents[3]
PYTHON = sys.executable
CPU = Device(kind="cpu", name="a processor", count=1, memory_bytes=1)
NOBODY = 2**22 + 1
"""No process has this id: Linux gives out less."""

ENGINE = (
    "import os, signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "if 'daemon' in sys.argv:\n"
    "    subprocess.Popen([sys.executable, *sys.orig_argv[1:3], sys.orig_argv[3], 'alone'],\n"
    "                     start_new_session=True)\n"
    "if 'alone' in sys.argv: print('alone', flush=True)\n"
    "if 'polite' in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_DFL)\n"
    "print('up', flush=True)\n"
    "time.sleep(600)\n"
)
"""Ignores SIGTERM. With `daemon` it starts another one, in its own session and with nothing
inherited but the environment, as engines start theirs."""


def engine(*faults: str) -> list[str]:
    return [sys.executable, "-I", "-c", ENGINE, *faults]


class Heard:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        self.lines.append(what)


class Bench:
    """A folder of leases of its own, and processes that hold them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(leases=folder / "leases", slot_wait_seconds=0)
        self.log = folder / "engine.log"
        self.marked = Marked()
        self.heard = Heard()

    def lease(self, **changed: Any) -> Any:
        settings = self.settings.model_copy(update=changed)
        return lease(CPU, what="a test", settings=settings, progress=self.heard)

    def sweep(self) -> list[Any]:
        return sweep(self.settings, self.heard)

    def records(self) -> list[LeaseRecord]:
        paths = self.settings.leases.glob("*.json")
        return [LeaseRecord.model_validate_json(path.read_text()) for path in paths]

    def write(self, mark: str = "0" * 32, **changed: Any) -> Path:
        """Write the record of a driver that is gone."""
        record = LeaseRecord(
            mark=mark, what="a dead run", started="2026-01-01T00:00:00Z",
            boot=process_trees.boot_id(), namespace=process_trees.namespace(),
            driver=Identity(pid=NOBODY, started=1), slots=("cpu-0",),
        )  # fmt: skip
        self.settings.leases.mkdir(exist_ok=True)
        path = self.settings.leases / f"{mark}.json"
        path.write_text(record.model_copy(update=changed).model_dump_json())
        return path

    def wait_for(self, text: str, times: int = 1, log: str = "engine.log") -> None:
        deadline, file = time.monotonic() + 60, self.folder / log
        while not file.exists() or file.read_text().count(text) < times:
            assert time.monotonic() < deadline, f"{text!r} never came"
            time.sleep(0.02)

    @contextmanager
    def driver(self, *faults: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start a driver that holds a lease for an engine."""
        driver = subprocess.Popen(
            [PYTHON, "-c", DRIVER, str(self.settings.leases), self.log, *engine(*faults)],
            cwd=ROOT, env=self.marked.env, stdout=subprocess.PIPE,
        )  # fmt: skip
        with driver:
            assert driver.stdout
            assert driver.stdout.readline() == b"started\n"
            self.wait_for("up", 2 if "daemon" in faults else 1)
            try:
                yield driver
            finally:
                driver.kill()


DRIVER = """
import os, sys, time
from pathlib import Path
from infra.machine.device import Device
from infra.machine.leases import lease
from infra.machine.processes import start
from infra.contracts.progress import Silent
from infra.store.settings import Settings
cpu = Device(kind="cpu", name="", count=1, memory_bytes=1)
with (
    lease(cpu, what="run 7", settings=Settings(leases=sys.argv[1]), progress=Silent()) as held,
    start(sys.argv[3:], log=Path(sys.argv[2]), env=dict(os.environ), grace_seconds=0.2, lease=held),
):
    print("started", flush=True)
    time.sleep(600)
"""


TWO = DRIVER.replace(
    "start(sys.argv[3:],", "held.beside('run 7, embedding') as second, start(sys.argv[3:], "
    "log=Path(sys.argv[2]).with_name('second.log'), env=dict(os.environ), grace_seconds=0.2, "
    "lease=second), start(sys.argv[3:],"
)  # fmt: skip
"""Two engines on the same accelerators."""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(leases, "GRACE_SECONDS", 0.5)
    bench = Bench(tmp_path)
    yield bench
    assert bench.marked.wait_gone() == []


# --- the record -----------------------------------------------------------------------------


def test_a_lease_is_written_down_and_taken_back(bench: Bench) -> None:
    with bench.lease() as held:
        (record,) = bench.records()
        assert record == held.record
        assert (record.slots, record.supervisor, record.what) == (("cpu-0",), None, "a test")
        assert record.driver.pid == os.getpid() and record.driver.alive()
        command = engine("polite", "--api-key", "hidden", "--hf-token=hidden", "--port", "8000")
        with start(command, log=bench.log, env=bench.marked.env, lease=held) as child:
            (record,) = bench.records()
            assert record.supervisor == Identity.of(child.pid)
            assert record.log == str(bench.log)
            assert "hidden" not in record.model_dump_json()
            assert record.command[-5:] == ("--api-key", "…", "--hf-token=…", "--port", "8000")
            bench.wait_for("up")
            environment = psutil.Process(child.pid).children()[0].environ()
            assert environment[MARK] == record.mark
            child.stop()
        (record,) = bench.records()
        assert (record.supervisor, record.command) == (None, ())
    assert bench.records() == []


def test_a_lease_serves_one_engine_after_another(bench: Bench) -> None:
    with bench.lease() as held:
        for _ in range(2):
            with start(engine("polite"), log=bench.log, env=bench.marked.env, lease=held):
                bench.wait_for("up")
                with pytest.raises(AcceleratorsTaken), bench.lease():
                    pytest.fail("the accelerator was taken twice")
        assert run(["true"], log=bench.log, env=bench.marked.env, lease=held) == 0
    with bench.lease():
        pass


def test_two_engines_share_accelerators_each_with_a_record_of_its_own(bench: Bench) -> None:
    with bench.lease() as held:
        with held.beside("another") as second:
            assert {record.what for record in bench.records()} == {"a test", "another"}
            assert second.record.slots == held.record.slots
            assert second.record.mark != held.record.mark
            with (
                start(engine("polite"), log=bench.log, env=bench.marked.env, lease=held) as one,
                start(engine("polite"), log=bench.log, env=bench.marked.env, lease=second) as two,
            ):
                assert {record.supervisor for record in bench.records()} == {
                    Identity.of(one.pid), Identity.of(two.pid),
                }  # fmt: skip
                two.stop()
                assert one.poll() is None
                assert held.record.supervisor == Identity.of(one.pid)
                with pytest.raises(AcceleratorsTaken), bench.lease():
                    pytest.fail("the accelerator was taken twice")
        assert [record.what for record in bench.records()] == ["a test"]
    assert bench.records() == []


def test_who_waits_learns_who_holds_it(bench: Bench) -> None:
    with (
        bench.driver() as driver,
        pytest.raises(AcceleratorsTaken) as caught,
        bench.lease(),
    ):
        pytest.fail("the accelerator was taken twice")
    assert f"process {driver.pid} since " in caught.value.cause
    assert "(run 7)" in caught.value.cause


def test_runs_may_hold_nothing(bench: Bench) -> None:
    with bench.lease(accelerators="none"), bench.lease(accelerators="none") as held:
        assert held.record.slots == ()
        assert len(bench.records()) == 2


def test_a_folder_that_takes_no_record_is_one_clear_error(bench: Bench) -> None:
    with bench.lease():
        pass
    with pytest.raises(PreflightError, match="cannot be written"):
        lease_records.write(bench.log / "x.json", bench_record(bench))


def bench_record(bench: Bench) -> LeaseRecord:
    bench.log.write_text("a file in the way")
    path = bench.write()
    record = LeaseRecord.model_validate_json(path.read_text())
    path.unlink()
    return record


# --- who dies, and what is left ---------------------------------------------------------------


def test_a_killed_driver_leaves_a_free_slot_and_a_record(bench: Bench) -> None:
    with bench.driver("daemon") as driver:
        driver.kill()
    assert bench.marked.wait_gone() == []
    assert len(bench.records()) == 1
    with bench.lease():
        (record,) = bench.records()
        assert record.driver.pid == os.getpid()
    assert bench.heard.lines == []


@pytest.mark.parametrize("supervisors", ["live", "die"])
def test_a_killed_driver_of_two_engines_leaves_neither(
    bench: Bench, supervisors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "DRIVER", TWO)
    with bench.driver() as driver:
        bench.wait_for("up", log="second.log")
        records = bench.records()
        assert {record.what for record in records} == {"run 7", "run 7, embedding"}
        if supervisors == "die":
            kill_together(driver.pid, *[one.supervisor.pid for one in records if one.supervisor])
        else:
            driver.kill()
    if supervisors == "die":
        assert len(bench.marked.living()) == 2
        bench.sweep()
    assert bench.marked.wait_gone() == []
    with bench.lease():
        assert len(bench.records()) == 1


def test_an_engine_without_driver_and_supervisor_keeps_its_slot_until_it_is_swept(
    bench: Bench,
) -> None:
    with bench.driver() as driver:
        (record,) = bench.records()
        assert record.supervisor
        kill_together(driver.pid, record.supervisor.pid)
        assert len(bench.marked.living()) == 1
        free = bench.settings.model_copy(update={"leases": bench.settings.leases})
        slots = leases.accelerators.allowed(CPU, None)
        with (
            pytest.raises(AcceleratorsTaken),
            leases.accelerators.take(
                slots or (), 1, folder=free.leases, wait_seconds=0,
                prepare=lambda: None, on_wait=lambda seconds: None, holders=str,
            ),
        ):  # fmt: skip
            pytest.fail("the accelerator was taken twice")
        with bench.lease():
            assert bench.marked.living() == []
    assert "run 7" in bench.heard.lines[0]
    assert bench.records() == []


def test_a_temporary_folder_without_driver_and_supervisor_goes_before_a_lease_begins(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TemporaryDirectory(prefix="t-", dir="/tmp") as temporary:
        monkeypatch.setattr(tempfile, "tempdir", temporary)
        bench.marked.env["TMPDIR"] = temporary
        with bench.driver() as driver:
            (used,) = Path(temporary).iterdir()
            (record,) = bench.records()
            assert record.supervisor
            kill_together(driver.pid, record.supervisor.pid)
            with bench.lease():
                assert not used.exists()
        assert list(Path(temporary).iterdir()) == []


def kill_together(*pids: int) -> None:
    """Kill processes so that none of them sees another one die."""
    processes = [psutil.Process(pid) for pid in pids]
    for process in processes:
        process.suspend()
    for process in processes:
        process.kill()
    while any(lives(process) for process in processes):
        time.sleep(0.01)


def test_an_orphan_that_inherited_nothing_but_its_mark_is_ended_before_a_lease_begins(
    bench: Bench,
) -> None:
    with bench.driver("daemon") as driver:
        (record,) = bench.records()
        (orphan,) = [p for p in process_trees.find(record.mark, None) if "alone" in p.cmdline()]
        assert record.supervisor
        inherits = [p for p in process_trees.find(record.mark, None) if p != orphan]
        kill_together(driver.pid, *(process.pid for process in inherits))
        assert lives(orphan)
        with bench.lease():
            assert not lives(orphan)


def test_a_polite_engine_ends_by_itself_when_driver_and_supervisor_are_killed(
    bench: Bench,
) -> None:
    with bench.driver("polite") as driver:
        (record,) = bench.records()
        assert record.supervisor
        kill_together(driver.pid, record.supervisor.pid)
    assert bench.marked.wait_gone() == []


def test_a_living_driver_is_left_alone(bench: Bench) -> None:
    with bench.driver():
        before = bench.marked.living()
        assert bench.sweep() == []
        assert bench.marked.living() == before
        assert len(bench.records()) == 1


def test_a_supervisor_that_is_stopped_is_killed_after_the_grace(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "AFTER_GRACE_SECONDS", 0.5)
    with bench.driver() as driver:
        (record,) = bench.records()
        assert record.supervisor
        os.kill(record.supervisor.pid, signal.SIGSTOP)
        driver.kill()
        driver.wait()
        assert bench.sweep() == []
        assert bench.marked.living() == []
    assert bench.records() == []


# --- what a sweep must not touch --------------------------------------------------------------


@contextmanager
def stranger(bench: Bench, **environment: str) -> Iterator[psutil.Process]:
    """A process in a session of its own that has nothing to do with a lease."""
    with subprocess.Popen(
        ["sleep", "600"], start_new_session=True, env=bench.marked.env | environment
    ) as popen:
        process = psutil.Process(popen.pid)
        while process.name() != "sleep" or not process.environ():  # its name comes first
            time.sleep(0.01)
        try:
            yield process
        finally:
            popen.kill()


def test_a_stranger_with_the_process_id_of_a_dead_supervisor_lives(bench: Bench) -> None:
    with stranger(bench) as process:
        identity = Identity.of(process.pid)
        assert identity
        bench.write(supervisor=identity.model_copy(update={"started": identity.started - 1}))
        assert bench.sweep() == []
        assert lives(process)
    assert bench.records() == []


def test_who_is_in_the_session_of_the_very_supervisor_is_ended(bench: Bench) -> None:
    with stranger(bench) as process:  # no mark, but all of pid and start
        bench.write(supervisor=Identity.of(process.pid))
        assert bench.sweep() == []
        assert not lives(process)


def test_another_mark_is_another_tree(bench: Bench) -> None:
    with stranger(bench, **{MARK: "1" * 32}) as process:
        bench.write("0" * 32)
        assert bench.sweep() == []
        assert lives(process)
        bench.write("1" * 32)
        assert bench.sweep() == []
        assert not lives(process)


@pytest.mark.parametrize(
    ("change", "removed"), [({"boot": "an earlier one"}, True), ({"namespace": 1}, False)]
)
def test_other_boots_and_containers_have_other_processes(
    bench: Bench, change: dict[str, Any], removed: bool
) -> None:
    with stranger(bench, **{MARK: "0" * 32}) as process:
        path = bench.write(**change)
        assert bench.sweep() == []
        assert lives(process)
        assert path.exists() is not removed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_another_users_record_is_not_believed(bench: Bench) -> None:
    with stranger(bench, **{MARK: "0" * 32}) as process:
        path = bench.write()
        os.chown(path, 65534, -1)
        assert bench.sweep() == []
        assert lives(process)
        assert path.exists()


def test_a_record_under_another_name_is_not_believed(bench: Bench) -> None:
    with stranger(bench, **{MARK: "0" * 32}) as process:
        path = bench.write()
        path.rename(path.with_name("copy.json"))
        assert bench.sweep() == []
        assert lives(process)


@pytest.mark.parametrize("content", [b"", b"{", b'{"mark": "x"}', b"\xff\xfe", b"[]", b"null"])
def test_torn_and_foreign_files_are_survived_and_left(bench: Bench, content: bytes) -> None:
    path = bench.write()
    whole = path.read_bytes()
    path.unlink()
    torn = {
        path.with_name("foreign.json"): content,
        path.with_name("torn.json"): whole[: len(whole) // 2],
    }
    for name, text in torn.items():
        name.write_bytes(text)
    (path.parent / "folder.json").mkdir()
    with bench.lease():
        assert len(list(path.parent.glob("*.json"))) == 4
    assert all(name.read_bytes() == text for name, text in torn.items())


def test_an_unknown_field_of_a_later_version_is_no_reason_to_kill(bench: Bench) -> None:
    with stranger(bench, **{MARK: "0" * 32}) as process:
        path = bench.write()
        path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 2}))
        assert bench.sweep() == []
        assert lives(process)


def test_many_sweeps_at_once_do_what_one_does(bench: Bench) -> None:
    with ExitStack() as stack:
        others = [stack.enter_context(stranger(bench, **{MARK: f"{n:032x}"})) for n in range(1, 5)]
        bystander = stack.enter_context(stranger(bench))
        for number in range(1, 5):
            bench.write(f"{number:032x}")
        found: list[list[Any]] = []
        threads = [threading.Thread(target=lambda: found.append(bench.sweep())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [[]] * 4
        assert not any(lives(process) for process in others)
        assert lives(bystander)
    assert bench.records() == []


# --- memory of accelerators -------------------------------------------------------------------


HELD = 2566 * 2**20


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """A GPU driver that lists as holding memory whoever is named to it."""
    monkeypatch.setattr(device, "_HOLDERS_SECONDS", 60)  # it is a process of its own
    with present(tmp_path, [{"uuid": "GPU-1"}], monkeypatch) as driver:
        yield driver


def test_memory_that_outlives_its_process_is_said(
    bench: Bench, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_MEMORY_SECONDS", 0.3)
    seen: list[int] = []

    def serve() -> None:
        with (
            bench.lease() as held,
            start(engine("polite"), log=bench.log, env=bench.marked.env, lease=held) as child,
        ):
            bench.wait_for("up")
            seen[:] = [process.pid for process in child.survivors()]
            driver.holds(*((pid, HELD) for pid in [*seen, NOBODY]))

    with pytest.raises(ProcessesLeft, match=f"a GPU still holds {2 * 2566} MiB") as caught:
        serve()
    assert all(str(pid) in caught.value.fact for pid in seen)
    assert len(bench.records()) == 1  # for the next start, when this driver is gone

    monkeypatch.setattr(leases, "_MEMORY_SECONDS", 60)
    freed = threading.Timer(1, lambda: driver.holds((NOBODY, HELD)))
    freed.start()
    serve()
    freed.join()
    assert len(bench.records()) == 1


def test_memory_of_a_swept_tree_is_looked_at_too(
    bench: Bench, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_MEMORY_SECONDS", 0.3)
    for accelerator, fits in (("0", False), ("another", True)):
        with stranger(bench, **{MARK: "0" * 32}) as process, ExitStack() as stack:
            bench.write()
            driver.holds((process.pid, HELD))
            if not fits:
                stack.enter_context(pytest.raises(ProcessesLeft, match="2566 MiB"))
            stack.enter_context(bench.lease(accelerators=accelerator))
            assert fits, "the accelerator was taken all the same"


def test_a_driver_that_hangs_says_of_no_accelerator_that_it_is_free(
    bench: Bench, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_MEMORY_SECONDS", 0.3)
    assert device.gpus()
    monkeypatch.setattr(device, "_HOLDERS_SECONDS", 0.2)
    driver.write(hangs=600)
    with stranger(bench, **{MARK: "0" * 32}):
        bench.write()
        with pytest.raises(ProcessesLeft, match="not surely their memory"), bench.lease():
            pytest.fail("the accelerator was taken all the same")
    driver.write(hangs=0)
    with bench.lease():
        pass


def test_nobody_waits_for_what_will_not_end(
    bench: Bench, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_MEMORY_SECONDS", 0.3)
    with bench.driver(), stranger(bench, **{MARK: "0" * 32}) as process:
        bench.write()
        driver.holds((process.pid, HELD))
        with (
            pytest.raises(ProcessesLeft, match="2566 MiB"),
            bench.lease(slot_wait_seconds=None),
        ):
            pytest.fail("the accelerator was taken twice")
        with pytest.raises(AcceleratorsTaken), bench.lease():
            pytest.fail("the accelerator was taken twice")
