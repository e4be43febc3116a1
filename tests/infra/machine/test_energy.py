"""The driver's binding and its process are real; below the binding is a library that stands in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.machine.accelerators import Slots, allowed
from infra.machine.device import detect
from infra.machine.energy import Meter, Tally, meter_of
from infra.machine.nvml import Answer
from tests.stand_in_driver import Driver, present

OURS, OTHER = 436, 17
THERE: list[dict[str, Any]] = [
    {"uuid": "GPU-7a22cc4a", "watts": 500, "energy": 86_400_000_000},
    {"uuid": "GPU-c3a4d1e2", "watts": 200, "energy": 1_000},
    {"uuid": "GPU-d3a4d1e2", "energy": None},
    {"uuid": "GPU-e3a4d1e2", "watts": 200, "energy": 1_000, "divided": True},
]


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with present(tmp_path, THERE, monkeypatch) as driver:
        yield driver


def meter(*names: str) -> Meter:
    slots = Slots(names=names, descriptors=(), environment={})
    found = meter_of(slots, lambda: [OURS])
    assert found is not None
    return found


def test_what_a_leased_gpu_takes_is_read_by_its_uuid(driver: Driver) -> None:
    leased = [slot.name for slot in allowed(detect(), "0,1") or ()]
    for names, watts in ((leased[:1], 500), (leased[1:], 200), (leased, 700)):
        tally = Tally(meter(*names))
        began = time.monotonic()
        with tally.span():
            inner = time.monotonic()
            time.sleep(0.3)
            inner = time.monotonic() - inner
        outer = time.monotonic() - began
        assert tally.joules is not None
        assert watts * inner <= tally.joules + 0.002 <= watts * outer + 0.004


def test_pauses_do_not_count(driver: Driver) -> None:
    gpu = driver.state["gpus"][0]
    gpu["watts"] = 0
    driver.write()
    tally = Tally(meter("gpu-GPU-7a22cc4a"))
    for taken, in_pause in ((1500, 70_000), (20, 0)):
        with tally.span():
            gpu["energy"] += taken
            driver.write()
        gpu["energy"] += in_pause
        driver.write()
    assert tally.joules == pytest.approx(1.52)


@pytest.mark.parametrize(
    "names",
    [["gpu-GPU-d3a4d1e2"], ["gpu-GPU-e3a4d1e2"], ["gpu-MIG-c6d4f1ef"], ["gpu-GPU-gone"],
     ["gpu-GPU-7a22cc4a", "gpu-GPU-d3a4d1e2"]],
)  # fmt: skip
def test_what_has_no_counter_of_its_own_is_left_out(driver: Driver, names: list[str]) -> None:
    tally = Tally(meter(*names))
    with tally.span():
        pass
    assert tally.joules is None


@pytest.mark.parametrize("names", [["cpu-0"], []])
def test_a_processor_has_no_counter(names: list[str]) -> None:
    assert meter_of(Slots(tuple(names), (), {}), list) is None
    assert meter_of(None, list) is None
    tally = Tally(None)
    with tally.span():
        pass
    assert tally.joules is None


@pytest.mark.parametrize(
    ("listed", "known"),
    [([OURS], True), ([], True), ([OURS, OTHER], False), ([OTHER], True),
     ([OTHER, OTHER + 1], False)],
)  # fmt: skip
def test_a_gpu_that_others_compute_on_has_no_energy_of_the_server(
    driver: Driver, listed: list[int], known: bool
) -> None:
    """In a container of its own the driver may number the server's only process otherwise."""
    wanted = meter("gpu-GPU-7a22cc4a")
    free = wanted.read()
    driver.holds(*((pid, 100) for pid in listed))
    taken = wanted.read()
    assert (wanted.joules(free, taken) is not None) == known
    assert (wanted.joules(taken, wanted.read()) is not None) == known


def test_a_driver_that_was_loaded_anew_or_fails_tells_nothing(driver: Driver) -> None:
    wanted = meter("gpu-GPU-7a22cc4a")
    before = wanted.read()
    assert wanted.joules(wanted.read(), before) is None
    driver.write(fails=18)
    assert wanted.joules(before, wanted.read()) is None
    assert wanted.joules(Answer(error="no answer"), before) is None


def test_a_counter_that_was_reset_tells_nothing_whatever_another_took(driver: Driver) -> None:
    both = meter("gpu-GPU-7a22cc4a", "gpu-GPU-c3a4d1e2")
    for gpu in driver.state["gpus"]:
        gpu["watts"] = 0
    driver.write()
    before = both.read()
    large, small = driver.state["gpus"][:2]
    large["energy"] += 5_000_000
    small["energy"] = 0
    driver.write()
    assert both.joules(before, both.read()) is None


def test_one_span_that_is_not_known_leaves_all_unknown(driver: Driver) -> None:
    tally = Tally(meter("gpu-GPU-7a22cc4a"))
    with tally.span():
        pass
    driver.holds((OURS, 1), (OTHER, 1))
    with tally.span():
        pass
    driver.holds((OURS, 1))
    with tally.span():
        pass
    assert tally.joules is None


def test_what_was_not_all_done_in_spans_is_not_told(driver: Driver) -> None:
    tally = Tally(meter("gpu-GPU-7a22cc4a"))
    with tally.span():
        pass
    assert tally.joules is not None
    tally.give_up()
    with tally.span():
        pass
    assert tally.joules is None
