"""What this machine can compute on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

from infra.contracts.errors import PreflightError
from infra.contracts.records import Record


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
        PreflightError: A GPU was asked for and no NVIDIA driver answers.
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
    if wanted == "cuda":
        raise PreflightError(
            "No NVIDIA GPU: serving.device is 'cuda', and no NVIDIA driver answers here.",
            cause="CUDA_VISIBLE_DEVICES hides every device."
            if _all_gpus()
            else "nvidia-smi is missing or lists no device.",
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


@cache
def _all_gpus() -> tuple[Gpu, ...]:
    query = "--query-gpu=index,uuid,name,memory.total,driver_version"
    return parse_gpus(_nvidia_smi(query, 30) or "")


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """Return what nvidia-smi lists: number, UUID, name, MiB of memory, driver."""
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]
    return tuple(
        Gpu(uuid, index, name, _bytes(mebibytes), driver)
        for index, uuid, name, mebibytes, driver in (row for row in rows if len(row) == 5)
    )


def _bytes(mebibytes: str) -> int:
    # GPUs without memory of their own have none to tell; they use the machine's.
    return int(mebibytes) * 2**20 if mebibytes.isdigit() else psutil.virtual_memory().total


def memory_holders() -> dict[int, int]:
    """Return MiB of GPU memory by process id; empty where no NVIDIA driver answers."""
    if not _all_gpus():
        return {}
    return parse_memory_holders(_nvidia_smi("--query-compute-apps=pid,used_memory", 5) or "")


def parse_memory_holders(text: str) -> dict[int, int]:
    """Return MiB by process id from what nvidia-smi lists, a line for a process and a GPU.

    In a container of its own the driver tells no memory (`[N/A]`), or lists nothing at all.
    """
    held: dict[int, int] = {}
    for line in text.splitlines():
        pid, _, mebibytes = (cell.strip() for cell in line.partition(","))
        if pid.isdigit():
            held[int(pid)] = held.get(int(pid), 0) + (int(mebibytes) if mebibytes.isdigit() else 0)
    return held


def _nvidia_smi(query: str, timeout: float) -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    try:
        return subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=timeout, check=False,  # one GPU may be lost
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None


@cache
def _processor() -> Device:
    name = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip() or name
                break
    return Device(kind="cpu", name=name, count=1, memory_bytes=psutil.virtual_memory().total)
