"""What this machine can compute on."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

from infra.contracts.errors import PreflightError
from infra.contracts.records import Record
from infra.machine import cores, nvml

_LIST_SECONDS = 30.0
"""The driver of a machine with eight GPUs may need ten seconds to wake up."""
_HOLDERS_SECONDS = 5.0
CONTROL = Path("/dev/nvidiactl")
"""Is there where an NVIDIA driver is loaded, whether it answers or not."""

_FLOAT16 = {"avx512_fp16", "amx_fp16"}
"""Instructions of x86 processors for sums of products in float16."""


class Device(Record):
    """The accelerators of this machine, or its processor."""

    kind: Literal["cpu", "cuda"]
    name: str
    """Of one accelerator, or of the processor."""

    count: int
    """Accelerators that CUDA_VISIBLE_DEVICES leaves to us; 1 for a processor."""

    memory_bytes: int
    """Of one accelerator, or of the machine."""

    driver: str | None = None
    """Version of the NVIDIA driver."""

    @property
    def cores(self) -> int | None:
        """Cores of the processor that this process may compute on; none on an accelerator.

        Their number decides in which order a processor adds up.
        """
        return cores.allowed() if self.kind == "cpu" else None

    @property
    def threads(self) -> int | None:
        """As many of these cores as this process may take the time of; see `cores.count`."""
        return cores.count() if self.kind == "cpu" else None

    @property
    def computes_float16(self) -> bool:
        """Whether it has instructions for float16; without them a processor is six times slower."""
        return self.kind != "cpu" or not (there := _cpuinfo("flags")) or bool(_FLOAT16 & {*there})


class Gpu(NamedTuple):
    """One NVIDIA GPU, or a part of one (MIG)."""

    uuid: str
    """The same under every numbering; of a part as `nvidia-smi -L` lists it."""

    visible: str
    """What CUDA_VISIBLE_DEVICES calls it: its number in the order of nvidia-smi, or `uuid`."""

    name: str
    memory_bytes: int
    driver: str


def detect(wanted: Literal["auto", "cuda", "cpu"] = "auto") -> Device:
    """Return the device to use.

    Raises:
        PreflightError: A GPU was asked for and no NVIDIA driver answers; or there may be one, of
            which its driver does not tell.
    """
    if wanted == "cpu":
        return _processor()
    if found := gpus():
        first = found[0]
        return Device(
            kind="cuda",
            name=first.name,
            count=len(found),
            memory_bytes=first.memory_bytes,
            driver=first.driver,
        )
    if _driver().late or (wanted == "auto" and _driver().error and CONTROL.exists()):
        raise PreflightError(
            "Whether this machine has an NVIDIA GPU that computes is not known: its driver does "
            "not tell.",
            cause=f"Of the driver NVML says: {_driver().error}.",
            remedy="Look at `nvidia-smi`; after an update of the driver restart the machine. Or "
            "set serving.device to 'cpu' for small models.",
        )
    if wanted == "cuda":
        raise PreflightError(
            "No NVIDIA GPU: serving.device is 'cuda', and no NVIDIA driver answers here.",
            cause="CUDA_VISIBLE_DEVICES hides every device."
            if _all_gpus()
            else f"Of the driver NVML says: {_driver().error or 'it lists no device'}.",
            remedy="Run on a machine with a GPU, or set serving.device to 'cpu' for small models.",
        )
    return _processor()


def gpus() -> tuple[Gpu, ...]:
    """Return the NVIDIA GPUs that CUDA_VISIBLE_DEVICES leaves to us, in its order."""
    return choose_gpus(_all_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES"))


def choose_gpus(there: tuple[Gpu, ...], visible: str | None) -> tuple[Gpu, ...]:
    """Return the GPUs that a list names: numbers, or UUIDs and their beginnings.

    Like CUDA it stops at the first entry that is none, as `-1`. A part of a GPU is believed to
    exist: its UUID does not stand in the list of GPUs.

    Args:
        there: All of the machine.
        visible: The list, with commas; None names all.
    """
    if visible is None:
        return there
    chosen: list[Gpu] = []
    for entry in (word.strip() for word in visible.split(",")):
        if entry.startswith("MIG-") and there:
            chosen.append(there[0]._replace(uuid=entry, visible=entry))
            continue
        found = [gpu for gpu in there if entry == gpu.visible or _begins(gpu.uuid, entry)]
        if len(found) != 1:
            break
        chosen += found
    return tuple(dict.fromkeys(chosen))


def _begins(uuid: str, entry: str) -> bool:
    return entry.startswith("GPU-") and uuid.startswith(entry)


def _all_gpus() -> tuple[Gpu, ...]:
    return tuple(
        Gpu(
            uuid=card.uuid,
            visible=str(card.index),
            name=card.name,
            # GPUs without memory of their own use the machine's.
            memory_bytes=card.memory_bytes or psutil.virtual_memory().total,
            driver=_driver().driver or "",
        )
        for card in _driver().gpus
    )


@cache
def _driver() -> nvml.Answer:
    return nvml.ask(_LIST_SECONDS)


def memory_holders() -> dict[int, int]:
    """Return bytes of GPU memory by process id; empty where the NVIDIA driver tells of none.

    Raises:
        TimeoutError: It does not answer, which says nothing of what is held.
    """
    held: dict[int, int] = {}
    if not _driver().gpus:
        return held
    answer = nvml.ask(_HOLDERS_SECONDS)
    if answer.late:
        raise TimeoutError(f"the NVIDIA driver gives {answer.error}")
    for card in answer.gpus:
        for process in card.processes:
            held[process.pid] = held.get(process.pid, 0) + (process.memory_bytes or 0)
    return held


@cache
def _processor() -> Device:
    name = " ".join(_cpuinfo("model name")) or platform.machine()
    return Device(kind="cpu", name=name, count=1, memory_bytes=psutil.virtual_memory().total)


@cache
def _cpuinfo(field: str) -> tuple[str, ...]:
    """Return the words of a field of the first processor; none where the system does not say."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = (line.partition(":")[2] for line in lines if line.partition(":")[0].strip() == field)
    return tuple(next(found, "").split())
