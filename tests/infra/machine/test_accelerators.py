from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import AcceleratorsTaken, PreflightError
from infra.machine import accelerators
from infra.machine.accelerators import Slot, Slots, allowed, take
from infra.machine.device import Device, Gpu, choose_gpus, detect
from tests.stand_in_driver import Driver
from tests.temporary_folders import of_everybody

ROOT = Path(__file__).parents[3]
CPU = Device(kind="cpu", name="a processor", count=1, memory_bytes=1)

LISTED: list[dict[str, Any]] = [
    {"uuid": "GPU-7a22cc4a-05e9-d443-fbdd-7aff567d7ea6", "processes": [(436, 2566 * 2**20)]},
    {"uuid": "GPU-7b0e1c9f-9a14-0b52-6f0c-2a6a5a1c7f11"},
    {"uuid": "GPU-c3a4d1e2-11aa-4c0e-8f7e-90ad3b5cc0de", "name": "NVIDIA GB10", "memory": None},
]
THERE = tuple(
    Gpu(gpu["uuid"], str(index), "a GPU", 1, "580.159.04") for index, gpu in enumerate(LISTED)
)


def three() -> list[Slot]:
    return [Slot(f"test-{number}", str(number)) for number in range(3)]


def taking(
    folder: Path,
    slots: list[Slot],
    count: int = 1,
    *,
    wait: float | None = 0,
    on_wait: Callable[[float], None] = lambda seconds: None,
) -> AbstractContextManager[Slots]:
    return take(
        slots, count, folder=folder, wait_seconds=wait, prepare=lambda: None, on_wait=on_wait,
        holders=lambda: "process 17",
    )  # fmt: skip


# --- which there are ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("visible", "numbers"),
    [
        (None, ["0", "1", "2"]),
        ("1", ["1"]),
        ("2, 0", ["2", "0"]),
        ("1,1", ["1"]),
        ("GPU-c3a4", ["2"]),
        ("GPU-7", []),  # two begin so
        ("0,-1,2", ["0"]),
        ("0,7,2", ["0"]),
        ("", []),
        ("-1", []),
        ("MIG-0a1b,1", ["MIG-0a1b", "1"]),
    ],
)
def test_gpus_are_chosen_as_cuda_chooses_them(visible: str | None, numbers: list[str]) -> None:
    assert [gpu.visible for gpu in choose_gpus(THERE, visible)] == numbers


def test_no_part_of_a_gpu_is_believed_in_where_there_is_none() -> None:
    assert choose_gpus((), "MIG-0a1b") == ()


def test_a_processor_has_one_slot_unless_more_are_named() -> None:
    assert allowed(CPU, None) == (Slot("cpu-0", None),)
    assert allowed(CPU, "0,1") == (Slot("cpu-0", None), Slot("cpu-1", None))
    assert allowed(CPU, "none") is None


WITH_GPUS = """
import sys
from infra.machine.accelerators import allowed
from infra.machine.device import detect, memory_holders
wanted, accelerators, sys.executable = sys.argv[1:]
device = detect(wanted)
print(device.kind, device.count, *(slot.name for slot in allowed(device, accelerators or None)))
print(memory_holders())
"""


@pytest.mark.parametrize(
    ("visible", "accelerators", "says"),
    [
        (None, "", "cuda 3 gpu-GPU-7a22cc4a gpu-GPU-7b0e1c9f gpu-GPU-c3a4d1e2"),
        ("2,1", "", "cuda 2 gpu-GPU-c3a4d1e2 gpu-GPU-7b0e1c9f"),
        ("2,1", "1", "cuda 2 gpu-GPU-7b0e1c9f"),
        ("2,1", "0", "cuda 2"),
        ("", "", "cpu 1 cpu-0"),
    ],
)
def test_gpus_are_found_through_their_driver(
    tmp_path: Path, visible: str | None, accelerators: str, says: str
) -> None:
    done = with_gpus("auto", accelerators, Driver(tmp_path, LISTED).python, visible)
    short = [" ".join(w[:16] for w in line.split()) for line in done.stdout.splitlines()]
    assert short == [says, "{436: 2690646016}"], done.stderr


def with_gpus(
    wanted: str, accelerators: str, python: Path | str, visible: str | None = None
) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"]}
    if visible is not None:
        env["CUDA_VISIBLE_DEVICES"] = visible
    return subprocess.run(
        [sys.executable, "-c", WITH_GPUS, wanted, accelerators, python],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_hidden_gpu_of_the_spec_says_what_hides_it(tmp_path: Path) -> None:
    done = with_gpus("cuda", "", Driver(tmp_path, LISTED).python, "-1")
    assert "CUDA_VISIBLE_DEVICES hides every device" in done.stderr


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"gpus": []}, "it lists no device"),
        ({"fails": 18}, "RM has detected an NVML/RM version mismatch"),
        ({"fails": 9}, "Driver Not Loaded"),
    ],
)
def test_a_gpu_of_the_spec_that_is_not_there_says_why(
    tmp_path: Path, state: dict[str, Any], says: str
) -> None:
    driver = Driver(tmp_path, LISTED)
    driver.write(**state)
    done = with_gpus("cuda", "", driver.python)
    assert "No NVIDIA GPU: serving.device is 'cuda'" in done.stderr
    assert says in done.stderr
    assert with_gpus("auto", "", driver.python).stdout.splitlines() == ["cpu 1 cpu-0", "{}"]


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="there is a driver")
def test_a_machine_without_a_driver_says_so() -> None:
    assert "NVML Shared Library Not Found" in with_gpus("cuda", "", sys.executable).stderr


# --- holding them ---------------------------------------------------------------------------


def test_a_slot_is_held_as_long_as_the_block_runs(tmp_path: Path) -> None:
    slot = three()[:1]
    with taking(tmp_path / "new", slot) as held:
        assert held.names == ("test-0",)
        assert held.environment["CUDA_VISIBLE_DEVICES"] == "0"
        with (
            pytest.raises(AcceleratorsTaken, match="process 17") as caught,
            taking(tmp_path / "new", slot),
        ):
            pytest.fail("it was taken twice")
        assert caught.value.remedy
    with taking(tmp_path / "new", slot):
        pass
    assert not any(os.get_inheritable(descriptor) for descriptor in open_files(tmp_path))


def open_files(folder: Path) -> list[int]:
    """Descriptors of this process below a folder: none may be left."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        if link.exists() and str(link.readlink()).startswith(str(folder)):
            found.append(int(link.name))
    assert found == []
    return found


def test_a_processor_is_held_without_a_word_to_cuda(tmp_path: Path) -> None:
    with taking(tmp_path, [Slot("cpu-0", None)]) as held:
        assert held.environment == {}


def test_who_holds_none_waits_for_none(tmp_path: Path) -> None:
    with taking(tmp_path, three(), 3), taking(tmp_path, [], 0) as none:
        assert none == Slots((), (), {})


def test_the_first_free_ones_are_taken(tmp_path: Path) -> None:
    with taking(tmp_path, three()[1:2]), taking(tmp_path, three(), 2) as held:
        assert held.names == ("test-0", "test-2")
        assert held.environment["CUDA_VISIBLE_DEVICES"] == "0,2"


def test_who_cannot_have_all_takes_none(tmp_path: Path) -> None:
    with taking(tmp_path, three()[:1]):
        with pytest.raises(AcceleratorsTaken), taking(tmp_path, three(), 3):
            pytest.fail("there were two")
        with taking(tmp_path, three()[1:], 2) as held:
            assert held.names == ("test-1", "test-2")
    open_files(tmp_path)


def test_more_than_there_are_is_refused_at_once(tmp_path: Path) -> None:
    with (
        pytest.raises(PreflightError, match=r"4 accelerators are needed, .* may take 3"),
        taking(tmp_path, three(), 4, wait=None),
    ):
        pytest.fail("there were three")


def test_who_waits_hears_so_and_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "_POLL_SECONDS", 0.02)
    waits, goes = threading.Event(), threading.Event()
    waited: list[float] = []

    def on_wait(seconds: float) -> None:
        waited.append(seconds)
        waits.set()

    def hold() -> None:
        with taking(tmp_path, three()[:1], wait=None, on_wait=on_wait):
            goes.set()

    waiting = threading.Thread(target=hold)
    with taking(tmp_path, three()[:1]):
        waiting.start()
        assert waits.wait(60)
        assert not goes.is_set()
    assert goes.wait(60)
    waiting.join()
    assert waited == sorted(waited)


def test_many_that_want_two_each_all_get_them_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerators, "_POLL_SECONDS", 0.001)
    inside: set[str] = set()
    twice: list[str] = []
    done: list[int] = []
    lock = threading.Lock()

    def work(number: int) -> None:
        order = three() if number % 2 else three()[::-1]
        for _ in range(5):
            with taking(tmp_path, order, 2, wait=None) as held:
                with lock:
                    twice.extend(inside.intersection(held.names))
                    inside.update(held.names)
                with lock:
                    inside.difference_update(held.names)
        done.append(number)

    threads = [threading.Thread(target=work, args=[number], daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(done) == [0, 1, 2, 3]
    assert twice == []


def test_a_lock_that_was_tidied_away_meanwhile_is_made_anew(tmp_path: Path) -> None:
    with taking(tmp_path, three()[:1]):
        pass
    (tmp_path / "test-0.lock").unlink()
    with (
        taking(tmp_path, three()[:1]),
        pytest.raises(AcceleratorsTaken),
        taking(tmp_path, three()[:1]),
    ):
        pytest.fail("it was taken twice")


@contextmanager
def as_somebody_else() -> Iterator[None]:
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_another_user_waits_too_and_gets_it_afterwards() -> None:
    # Not below the test's own folder, which nobody else may enter.
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(dir=of_everybody()))
        stack.callback(subprocess.run, ["rm", "-r", str(folder)], check=True)
        folder.chmod(0o755)
        leases = folder / "leases"
        with taking(leases, three()[:1]), as_somebody_else():
            with pytest.raises(AcceleratorsTaken), taking(leases, three()[:1]):
                pytest.fail("it was taken twice")
            with taking(leases, three()[1:2]):
                pass
        with as_somebody_else(), taking(leases, three()[:2], 2):
            pass
        with taking(leases, three()[:2], 2):
            pass


def test_a_folder_that_cannot_be_used_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(PreflightError, match=r"Not a directory.*\n.*ASSAY_LEASES"),
        taking(tmp_path / "file" / "leases", three()),
    ):
        pytest.fail("a file was taken for a folder")
    (tmp_path / "test-0.lock").symlink_to(tmp_path / "file")
    with pytest.raises(PreflightError, match="ASSAY_LEASES"), taking(tmp_path, three()[:1]):
        pytest.fail("a link was followed")


def test_the_processor_is_found() -> None:
    assert detect("cpu").count == 1
