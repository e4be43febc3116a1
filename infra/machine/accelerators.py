"""Accelerator slots: one lock per accelerator of this machine, so that two runs never share one.

A slot is an flock on a file. The kernel frees it when the last process that has the file open is
gone, so nobody has to clean up after a killed run. The driver takes it, its supervisors and their
engines inherit it: while an engine lives that lost both its driver and its supervisor, the slot
stays taken. (An engine may close what it inherited; `leases` looks for such before a slot is used.)

What a processor computes at a time it computes slower, and two engines can exhaust its memory: it
has slots too, one unless `ASSAY_ACCELERATORS` names more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.contracts.errors import AcceleratorsTaken, PreflightError
from infra.machine.device import Device, choose_gpus, gpus

_POLL_SECONDS = 1.0
_GATE_SECONDS = 5.0
"""A try takes milliseconds; longer only whoever is stopped in the middle of one."""
_FOLDER_MODE = 0o1777
_FILE_MODE = 0o644
"""Locking needs reading alone, so another user's file will do."""

GPU = "gpu-"
"""What the slot of a GPU is called, before its UUID."""


@dataclass(frozen=True)
class Slot:
    """One accelerator."""

    name: str
    """Unique on this machine; the name of its lock."""

    visible: str | None
    """What CUDA_VISIBLE_DEVICES calls it; none for a processor."""


@dataclass(frozen=True)
class Slots:
    """Accelerators that are ours for now."""

    names: tuple[str, ...]
    descriptors: tuple[int, ...]
    """Of their locks. Whoever inherits one holds the accelerator as long as it lives."""

    environment: Mapping[str, str]
    """What a process needs to see these accelerators and no other."""


def allowed(device: Device, accelerators: str | None) -> tuple[Slot, ...] | None:
    """Return the slots that runs may take, None if they shall hold none.

    Args:
        device: What to compute on.
        accelerators: `ASSAY_ACCELERATORS`; GPUs are those among CUDA_VISIBLE_DEVICES.
    """
    if accelerators == "none":
        return None
    if device.kind == "cpu":
        entries = [word.strip() for word in (accelerators or "0").split(",")]
        return tuple(Slot(f"cpu-{entry}", None) for entry in entries if entry.isalnum())
    return tuple(Slot(f"{GPU}{gpu.uuid}", gpu.visible) for gpu in choose_gpus(gpus(), accelerators))


@contextlib.contextmanager
def take(
    slots: Sequence[Slot],
    count: int,
    *,
    folder: Path,
    wait_seconds: float | None,
    prepare: Callable[[], None],
    on_wait: Callable[[float], None],
    holders: Callable[[], str],
) -> Iterator[Slots]:
    """Hold so many of the slots while the block runs, waiting until as many are free.

    All or none are taken, and only one process tries at a time: two runs that want the same
    accelerators cannot wait for each other.

    Args:
        slots: Those that may be taken, the preferred first.
        count: How many.
        folder: Where the locks of this machine are.
        wait_seconds: How long to wait at most; None waits as long as it takes.
        prepare: Called before every try: frees what a dead run holds.
        on_wait: Hears the seconds waited so far.
        holders: Returns who holds them, for people.

    Raises:
        AcceleratorsTaken: They were not free in time.
        PreflightError: There are not so many, or the folder cannot be used.
    """
    if count > len(slots):
        raise PreflightError(
            f"{count} accelerators are needed, but this run may take {len(slots)}.",
            cause="ASSAY_ACCELERATORS or CUDA_VISIBLE_DEVICES names no more of this machine.",
            remedy="Lower serving.tensor_parallel_size, or let it take more.",
        )
    started = time.monotonic()
    make_folder(folder)
    while True:
        prepare()
        try:
            taken = _try(slots, count, folder)
        except OSError as error:
            raise _unusable(folder, error) from error
        if taken is not None:
            break
        seconds = time.monotonic() - started
        if wait_seconds is not None and seconds >= wait_seconds:
            raise AcceleratorsTaken(
                f"Other runs held the accelerators of this machine for {seconds:.0f} seconds.",
                cause=holders(),
                remedy="Wait for them, allow a longer wait by ASSAY_SLOT_WAIT_SECONDS, or let "
                "this run take others by ASSAY_ACCELERATORS.",
            )
        on_wait(seconds)
        time.sleep(_POLL_SECONDS)
    try:
        visible = [slot.visible for slot in taken if slot.visible is not None]
        yield Slots(
            names=tuple(slot.name for slot in taken),
            descriptors=tuple(taken.values()),
            environment={
                "CUDA_VISIBLE_DEVICES": ",".join(visible),
                "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # the order of nvidia-smi
            }
            if visible
            else {},
        )
    finally:
        # Closed, not unlocked: unlocking would free it for those too who inherited it.
        for descriptor in taken.values():
            os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make the folder of locks and records, for every user of the machine.

    Raises:
        PreflightError: It cannot be made, or not be written.
    """
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(_FOLDER_MODE)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied", str(folder))
    except OSError as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: OSError) -> PreflightError:
    return PreflightError(
        f"The folder of locks {folder} cannot be used: {error.strerror}.",
        remedy="Point ASSAY_LEASES to a folder on a local disk, the same for every user of these "
        "accelerators.",
    )


def _try(slots: Sequence[Slot], count: int, folder: Path) -> dict[Slot, int] | None:
    """Take so many slots at once, or none."""
    deadline = time.monotonic() + _GATE_SECONDS
    while (gate := _lock(folder / "gate.lock")) is None:
        if time.monotonic() > deadline:
            return None
        time.sleep(0.02)
    taken: dict[Slot, int] = {}
    try:
        for slot in slots:
            if len(taken) == count:
                break
            if (descriptor := _lock(folder / f"{slot.name}.lock")) is not None:
                taken[slot] = descriptor
        if len(taken) == count:
            return taken.copy()
        return None
    except BaseException:
        count = -1
        raise
    finally:
        os.close(gate)
        if len(taken) != count:
            for descriptor in taken.values():
                os.close(descriptor)


def _lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock, None if somebody else does."""
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever tidies folders may have removed the file after it was opened.
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _open(path: Path) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(FileNotFoundError):
        # Without O_CREAT: Linux refuses that on another user's file in a folder for everybody.
        return os.open(path, flags)
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != _FILE_MODE:
            os.fchmod(descriptor, _FILE_MODE)
        return descriptor
    return os.open(path, flags)
