"""What the machine must have: devices, a driver, a port, folders to write to."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Literal

from infra.contracts.errors import NotEnough, PreflightError
from infra.contracts.specs import ServingSpec
from infra.engines.registry import engine_of
from infra.machine import ports
from infra.machine.accelerators import allowed
from infra.machine.device import Device, detect
from infra.machine.environments import lock_file
from infra.models.memory_need import GIB
from infra.preflight.findings import Finding, note
from infra.store.settings import Settings, interpreter_variable
from infra.store.shared import place

_LEAST_DRIVER = {12: (525, 60), 13: (580, 65)}
"""CUDA's major version → oldest NVIDIA driver that runs its programs (CUDA's release notes)."""

_RESULTS_BYTES = GIB // 4
"""Room for one run's report, answers and logs."""


def accelerator(spec: ServingSpec, settings: Settings) -> str:
    """Check that there are as many GPUs as the spec shares the model between.

    Raises:
        PreflightError: A GPU was asked for and there is none.
        NotEnough: There are too few.
    """
    device = detect(spec.computes_on)
    wanted = spec.tensor_parallel_size
    if device.kind == "cpu" and wanted > 1:
        raise NotEnough(
            f"serving.tensor_parallel_size is {wanted}, but this machine has no GPU.",
            remedy="Set serving.tensor_parallel_size to 1, or run where the GPUs are.",
        )
    there = f"{device.count} × {device.name}, {device.memory_bytes / GIB:.0f} GiB each"
    if wanted > device.count:
        raise NotEnough(
            f"serving.tensor_parallel_size is {wanted}, but this machine has {there}.",
            remedy="Lower serving.tensor_parallel_size, or run where the GPUs are.",
        )
    slots = allowed(device, settings.accelerators)
    if slots is not None and wanted > len(slots):
        raise NotEnough(
            f"serving.tensor_parallel_size is {wanted}, but runs may take {len(slots)} of {there}.",
            cause="ASSAY_ACCELERATORS or CUDA_VISIBLE_DEVICES names no more of this machine; "
            "numbers are those of nvidia-smi.",
            remedy="Let runs take more, or lower serving.tensor_parallel_size.",
        )
    return there if device.kind == "cuda" else f"none; the processor computes ({device.name})"


def driver(device: Device, settings: Settings, spec: ServingSpec) -> Finding | str:
    """Check that the NVIDIA driver runs programs of the locked CUDA.

    Raises:
        NotEnough: It is too old.
    """
    program = engine_of(spec).environment
    if spec.python or program in settings.interpreters:
        name = "serving.python" if spec.python else interpreter_variable(program)
        return f"{device.driver}; {name} has a CUDA of its own"
    cuda = locked_cuda(lock_file(program, "cuda").read_text(encoding="utf-8"))
    found = re.match(r"(\d+)\.(\d+)", device.driver or "")
    if cuda is None or cuda not in _LEAST_DRIVER or found is None:
        return note("driver", f"{device.driver or 'unknown'}; the locked CUDA is {cuda}")
    least = _LEAST_DRIVER[cuda]
    if (int(found[1]), int(found[2])) < least:
        raise NotEnough(
            f"The NVIDIA driver is {device.driver}; CUDA {cuda} needs {least[0]}.{least[1]}.",
            cause=f"The locked engine is built for CUDA {cuda}.",
            remedy=f"Update the driver, or point {interpreter_variable(program)} and "
            "the variables of the quantizers to interpreters whose torch is built for an older "
            "CUDA.",
        )
    return f"{device.driver}; CUDA {cuda} needs {least[0]}.{least[1]}"


def locked_cuda(lock: str) -> int | None:
    """Return the major version of CUDA that a lock's torch is built for, none if it is unknown."""
    build = re.search(r"^torch==\S+?\+cu(\d+)\d", lock, re.MULTILINE) or re.search(
        r"^nvidia-cuda-runtime(?:-cu\d+)?==(\d+)\.", lock, re.MULTILINE
    )
    return int(build[1]) if build else None


def port(wanted: int) -> str:
    """Check a port that the spec names.

    Raises:
        PortTaken: Another process listens on it.
    """
    ports.refuse_taken(wanted)
    return f"{wanted} is free"


def folder(path: Path, kind: Literal["cache", "runs"]) -> str:
    """Check that a folder can be written, without making it.

    Raises:
        PreflightError: It cannot be written, or there is no room for a run's results.
    """
    remedy = (
        "Point ASSAY_CACHE to a folder of yours."
        if kind == "cache"
        else "Point ASSAY_RUNS or results.folder to a folder of yours."
    )
    above = existing(path)
    try:
        # Permissions alone do not tell: root passes them, a read-only mount does not.
        Path(tempfile.mkdtemp(prefix=".assay-", dir=above)).rmdir()
    except OSError as error:
        raise PreflightError(
            f"The folder {path} cannot be written.",
            cause=f"{above}: {error.strerror}.",
            remedy=remedy,
        ) from error
    free = shutil.disk_usage(above).free
    if kind == "runs" and free < _RESULTS_BYTES:
        raise PreflightError(
            f"Disk: {path} has {free / GIB:.2f} GiB free, too little for a run's results.",
            remedy="Free some, or point ASSAY_RUNS or results.folder to a larger disk.",
        )
    return str(path)


def shared(url: str) -> str:
    """Check that the place that machines share can be written, and holds locks.

    Raises:
        PreflightError: It cannot be reached or written, or lets two hold the same lock.
    """
    return place(url).require_usable()


def existing(path: Path) -> Path:
    """Return the nearest folder above that exists."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
