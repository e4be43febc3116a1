"""An NVIDIA driver that tells whatever stands in a file: the library below NVML's Python binding.

Whoever asks the driver does so by the real binding, in a process of its own; only the C library
that the binding loads is another one there, with the same functions and the same structures. It is
put there by an interpreter of its own, which any process starts that takes it for `sys.executable`.
"""

from __future__ import annotations

import json
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pynvml
import pytest

from infra.machine import device

H100: dict[str, Any] = {
    "name": "NVIDIA H100 80GB HBM3", "memory": 81559 * 2**20, "processes": [],
    "watts": 0, "energy": None, "divided": False,
}  # fmt: skip
"""`energy` is in millijoules at the time 0 of the clock that all processes share; it grows by
`watts`."""

_LIBRARY = '''
import ctypes, json, time
from ctypes import POINTER, c_char, c_int, c_uint, c_void_p, c_ulonglong

STATE = "@STATE@"
LOST, UNSUPPORTED, INSUFFICIENT, UNLOADED, NO_PERMISSION = 15, 3, 7, 9, 4
NOT_AVAILABLE = c_ulonglong(-1).value


def state():
    with open(STATE) as file:
        return json.load(file)


def number(handle):
    """Handles are opaque pointers; ours point to the number of the GPU, counted from 1."""
    return state()["gpus"][handle - 1]


def write(buffer, size, text):
    assert len(text) < size
    ctypes.memmove(buffer, text.encode() + b"\\0", len(text) + 1)
    return 0


def init(flags):
    now = state()
    time.sleep(now.get("hangs", 0))
    return now.get("fails", 0)


def handle_of(index, handle):
    if state()["gpus"][index].get("lost"):
        return LOST
    ctypes.cast(handle, POINTER(c_void_p))[0] = index + 1
    return 0


def memory(handle, filled):
    import pynvml

    total = number(handle)["memory"]
    if total is None:
        return UNSUPPORTED
    ctypes.cast(filled, POINTER(pynvml.c_nvmlMemory_t)).contents.total = total
    return 0


def processes(handle, count, filled):
    import pynvml

    running = number(handle)["processes"]
    if running is None:
        return NO_PERMISSION
    size = ctypes.cast(count, POINTER(c_uint))
    there = size[0]
    size[0] = len(running)
    if there < len(running):
        return INSUFFICIENT
    into = ctypes.cast(filled, POINTER(pynvml.c_nvmlProcessInfo_v3_t))
    for place, (pid, held) in enumerate(running):
        into[place].pid = pid
        into[place].usedGpuMemory = NOT_AVAILABLE if held is None else held
    return 0


def energy(handle, filled):
    gpu = number(handle)
    if gpu["energy"] is None:
        return UNSUPPORTED
    spent = gpu["energy"] + int(1000 * gpu["watts"] * time.monotonic())
    ctypes.cast(filled, POINTER(c_ulonglong))[0] = spent
    return 0


def divided(handle, now, later):
    if number(handle)["divided"] is None:
        return UNSUPPORTED
    for filled in (now, later):
        ctypes.cast(filled, POINTER(c_uint))[0] = number(handle)["divided"]
    return 0


def count(filled):
    ctypes.cast(filled, POINTER(c_uint))[0] = len(state()["gpus"])
    return 0


def function(python, *arguments):
    return ctypes.CFUNCTYPE(c_int, *arguments)(python)


class Library:
    nvmlInitWithFlags = function(init, c_uint)
    nvmlSystemGetDriverVersion = function(
        lambda buffer, size: write(buffer, size, state()["driver"]), c_void_p, c_uint)
    nvmlDeviceGetCount_v2 = function(count, c_void_p)
    nvmlDeviceGetHandleByIndex_v2 = function(handle_of, c_uint, c_void_p)
    nvmlDeviceGetUUID = function(
        lambda gpu, buffer, size: write(buffer, size, number(gpu)["uuid"]),
        c_void_p, c_void_p, c_uint)
    nvmlDeviceGetName = function(
        lambda gpu, buffer, size: write(buffer, size, number(gpu)["name"]),
        c_void_p, c_void_p, c_uint)
    nvmlDeviceGetMemoryInfo = function(memory, c_void_p, c_void_p)
    nvmlDeviceGetTotalEnergyConsumption = function(energy, c_void_p, c_void_p)
    nvmlDeviceGetMigMode = function(divided, c_void_p, c_void_p, c_void_p)
    nvmlDeviceGetComputeRunningProcesses_v3 = function(processes, c_void_p, c_void_p, c_void_p)


real = ctypes.CDLL
ctypes.CDLL = lambda name, *rest, **more: (
    Library() if name == "libnvidia-ml.so.1" else real(name, *rest, **more))
'''


class Driver:
    """A driver, and the interpreter whose processes find it."""

    def __init__(self, folder: Path, gpus: Sequence[dict[str, Any]]) -> None:
        """Make the interpreter.

        Args:
            folder: Where it is made.
            gpus: Each with `uuid`, and what `H100` holds unless it says otherwise.
        """
        self._state = folder / "driver.json"
        self.state: dict[str, Any] = {
            "driver": "580.159.04", "gpus": [{**H100, **gpu} for gpu in gpus],
        }  # fmt: skip
        self.write()
        home = folder / "driver"
        venv.create(home, symlinks=True, with_pip=False)
        self.python = home / "bin" / "python"
        (packages,) = home.glob("lib/python*/site-packages")
        (packages / "pynvml.py").symlink_to(pynvml.__file__)
        (packages / "sitecustomize.py").write_text(_LIBRARY.replace("@STATE@", str(self._state)))

    def write(self, **changes: Any) -> None:
        """Let it tell something else from now on."""
        self.state |= changes
        new = self._state.with_suffix(".new")
        new.write_text(json.dumps(self.state))
        new.replace(self._state)  # whoever reads it meanwhile reads it whole

    def holds(self, *processes: tuple[int, int | None], gpu: int = 0) -> None:
        """Let a GPU hold so many bytes for each of some processes."""
        self.state["gpus"][gpu]["processes"] = processes
        self.write()


@contextmanager
def present(
    folder: Path, gpus: Sequence[dict[str, Any]], patch: pytest.MonkeyPatch
) -> Iterator[Driver]:
    """Have this process find the driver while the block runs."""
    driver = Driver(folder, gpus)
    patch.setattr(sys, "executable", str(driver.python))
    forget()
    try:
        yield driver
    finally:
        forget()


def forget() -> None:
    """Forget which GPUs were found."""
    device._driver.cache_clear()
