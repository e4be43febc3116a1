"""Checks of this machine: accelerators, environments, memory, limits, ports."""

from __future__ import annotations

import resource
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Literal

from infra.contracts.errors import AssayError
from infra.contracts.specs import ServingSpec
from infra.housekeeping.doctor.looking import Check
from infra.machine import environments, nvml, ports
from infra.machine.device import CONTROL, detect
from infra.models.memory_need import GIB, main_memory
from infra.preflight import interpreters
from infra.preflight import machine as of_a_run
from infra.preflight.findings import Finding, note
from infra.store.settings import Settings

_DRIVER_SECONDS = 10.0
_PYTHON_SECONDS = 10.0
_FILES = 4_096
"""Open files that an engine with many connections may need."""

_SHARED = GIB
"""Shared memory that an engine on several GPUs needs at least."""

_UI_PORT = 4200


def checks(settings: Settings) -> list[Check]:
    """Return all of them."""
    return [
        Check("accelerators", accelerators),
        Check("driver", partial(driver, settings)),
        *(
            Check(f"{name} environment", partial(environment, name, settings))
            for name in environments.programs_built()
        ),
        Check("clock", clock),
        Check("main memory", memory),
        Check("shared memory", shared_memory),
        Check("open files", open_files),
        Check("port of the UI", partial(port, _UI_PORT)),
        Check("ports for engines", lambda: f"{ports.find_free()} is free, of 20000 to 29999"),
        Check("browser", browser),
    ]


def accelerators() -> Finding | str:
    """Say which accelerators there are."""
    told = nvml.ask(_DRIVER_SECONDS)
    if told.gpus:
        return "; ".join(f"{card.index}: {card.name}, {(card.memory_bytes or 0) / GIB:.0f} GiB, "
                         f"{len(card.processes)} processes" for card in told.gpus)  # fmt: skip
    processor = detect("cpu")
    if CONTROL.exists():
        raise AssayError(
            "There is an NVIDIA device, but its driver tells of no GPU.",
            cause=told.error or "It lists none.",
            remedy="Look at `nvidia-smi`; after an update of the driver restart the machine.",
        )
    return f"no GPU ({told.error}); the processor computes ({processor.name})"


def driver(settings: Settings) -> Finding | str:
    """Say whether the driver runs programs of the locked CUDA."""
    device = detect()
    if device.kind == "cpu":
        return "none is needed: no GPU"
    return of_a_run.driver(device, settings, ServingSpec())


def environment(name: str, settings: Settings) -> Finding | str:
    """Say whether an environment is built for today's lock, and runs."""
    kind: Literal["cpu", "cuda"] = detect().kind
    if not environments.lock_file(name, kind).is_file():
        kind = "cpu"
    found, _ = interpreters.environment(name, kind, settings)
    located, present = environments.locate(name, kind, settings)
    if not present or located.provided:
        return found
    try:
        subprocess.run(
            [located.python, "-I", "-c", ""], check=True, timeout=_PYTHON_SECONDS,
            capture_output=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise AssayError(
            f"{located.python} does not run: {type(error).__name__}.",
            cause="The Python that the environment was made from was removed or changed.",
            remedy=f"Remove {located.python.parent.parent}; the next run builds it anew.",
        ) from error
    return found


def clock() -> Finding | str:
    """Say whether the clock goes on as it should."""
    before = time.time() - time.monotonic()
    time.sleep(1)
    jumped = time.time() - time.monotonic() - before
    if abs(jumped) > 0.5:
        raise AssayError(
            f"The clock was set by {jumped:+.1f} s within a second.",
            cause="Something sets it again and again.",
            remedy="Let one program alone set it (`timedatectl` says which does).",
        )
    return f"{time.strftime('%Y-%m-%d %H:%M:%S %Z')}, and steady"


def memory() -> Finding | str:
    """Say how much main memory is free."""
    total, free = main_memory()
    text = f"{free / GIB:.1f} of {total / GIB:.1f} GiB are free"
    return note("", f"{text}: too little for most models") if free < 2 * GIB else text


def shared_memory() -> Finding | str:
    """Say how much room /dev/shm has, through which parts of an engine talk."""
    folder = Path("/dev/shm")  # noqa: S108
    if not folder.is_dir():
        return note("", "there is no /dev/shm: an engine on several GPUs cannot start")
    used = shutil.disk_usage(folder)
    text = f"{used.free / GIB:.1f} of {used.total / GIB:.1f} GiB are free"
    if used.free < _SHARED:
        return Finding(
            name="", status="note", found=f"{text}: too little for an engine on several GPUs",
            remedy="Start the container with --shm-size=8g or --ipc=host, or clear /dev/shm.",
        )  # fmt: skip
    return text


def open_files() -> Finding | str:
    """Say how many files may be open at a time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"{soft:,} at a time (at most {hard:,})"
    if soft != resource.RLIM_INFINITY and soft < _FILES:
        return Finding(
            name="", status="note", found=f"{text}: few for many requests at once",
            remedy="Raise it with `ulimit -n 65536` where Assay is started.",
        )  # fmt: skip
    return text


def port(wanted: int) -> Finding | str:
    """Say whether a port is free, or who listens on it."""
    try:
        ports.refuse_taken(wanted)
    except AssayError as error:
        return note("", f"{wanted} is taken. {error.cause}".rstrip())
    return f"{wanted} is free"


def browser() -> str:
    """Say whether there is a browser for the tests of pages."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    return found or "no Chromium; only tests of pages need one"
