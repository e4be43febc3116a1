from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.contracts.errors import PreflightError
from infra.machine import device, nvml
from infra.machine.device import Gpu, detect, gpus, memory_holders
from tests.stand_in_driver import Driver, forget, present

GOLDEN = Path(__file__).with_name("nvml_answer.json")
LISTED: list[dict[str, Any]] = [
    {
        "uuid": "GPU-7a22cc4a",
        "processes": [(436, 2566 * 2**20), (437, 100)],
        "energy": 86_400_000_000,
    },
    {"uuid": "GPU-7b0e1c9f", "lost": True},
    {
        "uuid": "GPU-c3a4d1e2",
        "name": "NVIDIA GB10",
        "memory": None,
        "processes": [(436, None)],
        "divided": None,
    },
    {"uuid": "GPU-d3a4d1e2", "processes": None, "energy": 5_000, "divided": True},
]


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with present(tmp_path, LISTED, monkeypatch) as driver:
        yield driver


def test_the_answer_keeps_its_form(driver: Driver) -> None:
    said = subprocess.run(
        [driver.python, "-I", nvml._QUERY], capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(said) == json.loads(GOLDEN.read_text())


def test_what_the_driver_lists_is_understood(driver: Driver) -> None:
    found = gpus()
    assert found[0] == Gpu(
        "GPU-7a22cc4a", "0", "NVIDIA H100 80GB HBM3", 81559 * 2**20, "580.159.04"
    )
    assert [gpu.visible for gpu in found] == ["0", "2", "3"]  # the second has fallen off its bus
    assert found[1].memory_bytes == psutil.virtual_memory().total


def test_who_holds_memory_is_understood(driver: Driver) -> None:
    assert memory_holders() == {436: 2566 * 2**20, 437: 100}
    driver.holds((436, 1000), gpu=2)
    assert memory_holders() == {436: 2566 * 2**20 + 1000, 437: 100}


def test_a_driver_that_fails_later_holds_nothing_that_was_found(driver: Driver) -> None:
    assert len(gpus()) == 3
    driver.write(fails=18)
    assert memory_holders() == {}
    assert nvml.ask(60).error == "RM has detected an NVML/RM version mismatch."


def test_who_holds_memory_is_not_known_of_a_driver_that_hangs(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(gpus()) == 3
    monkeypatch.setattr(device, "_HOLDERS_SECONDS", 0.2)
    driver.write(hangs=600)
    with pytest.raises(TimeoutError, match=r"gives no answer within 0\.2 seconds"):
        memory_holders()


def test_a_driver_that_hangs_is_given_up(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_LIST_SECONDS", 0.2)
    driver.write(hangs=600)
    assert gpus() == ()
    assert device._driver().error == "no answer within 0.2 seconds"
    for wanted in ("auto", "cuda"):
        with pytest.raises(PreflightError, match="its driver does not tell") as caught:
            detect(wanted)
        assert caught.value.cause == "Of the driver NVML says: no answer within 0.2 seconds."
    assert detect("cpu").kind == "cpu"


def test_nothing_computes_on_a_processor_because_the_driver_of_a_gpu_fails(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver.write(fails=18)
    assert detect().kind == "cpu", "a driver that is installed may drive nothing"
    monkeypatch.setattr(device, "CONTROL", tmp_path)
    with pytest.raises(PreflightError, match="its driver does not tell") as caught:
        detect()
    assert "NVML/RM version mismatch" in caught.value.cause
    driver.write(fails=0)
    forget()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert detect().kind == "cpu", "a GPU that is hidden is known"


def test_an_answer_that_is_none_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    for python in ("/bin/true", "/does/not/exist"):
        monkeypatch.setattr("sys.executable", python)
        assert nvml.ask(60).error == "no answer"
