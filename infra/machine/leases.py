"""Leases: an engine with the accelerators it holds, and a record for whoever has to clean up.

A lease takes its accelerators, leaves a record below `settings.leases`, and removes it when no
process of it is left. Only a driver that was killed, or a machine that lost its power, leaves one
behind. Every lease begins with a sweep: what a dead driver's record names is ended, if it is surely
ours. That takes a record of this user, of this boot, and of a driver that is gone; and processes
that carry the record's random mark, or sit in the session of its very supervisor. All else is left
alone, whatever its process id.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import psutil

from infra.contracts.errors import PreflightError, ProcessesLeft
from infra.contracts.progress import Progress
from infra.machine import accelerators, beside, lease_records, process_trees, temporary_folder
from infra.machine.accelerators import Slots
from infra.machine.device import Device, memory_holders
from infra.machine.lease_records import LeaseRecord
from infra.machine.process_trees import AFTER_GRACE_SECONDS, GRACE_SECONDS, Identity
from infra.store.settings import Settings

_MEMORY_SECONDS = 8.0
"""How long a driver may take to free the memory of a process that is gone."""
_POLL_SECONDS = 0.25


@dataclass
class Lease:
    """Accelerators that are held, and the record that says so."""

    slots: Slots
    record: LeaseRecord
    _path: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """What the engine needs to see its accelerators and no other."""
        return self.slots.environment

    @contextlib.contextmanager
    def beside(self, what: str, mark: str | None = None) -> Iterator[Lease]:
        """Hold the same accelerators for one process more, with a record of its own.

        Args:
            what: What for, for people.
            mark: Of a process that runs already; none for one that will be started.
        """
        record = self.record.model_copy(
            update={
                "mark": mark or uuid4().hex, "what": what, "started": datetime.now().astimezone(),
                "supervisor": None, "command": (), "log": "",
            }
        )  # fmt: skip
        path = self._path.with_name(f"{record.mark}.json")
        lease_records.write(path, record)
        held = Lease(self.slots, record, path)
        try:
            yield held
        finally:
            held.close()

    def begun(self, supervisor: int, command: Sequence[str], log: Path) -> None:
        """Write down what was started."""
        self._write(
            supervisor=Identity.of(supervisor), command=lease_records.public(command), log=str(log)
        )

    def ended(self, pids: Sequence[int]) -> None:
        """Check that nothing that was started is left on an accelerator, and write that down.

        Args:
            pids: Processes that are gone.

        Raises:
            ProcessesLeft: An accelerator still holds memory for one of them.
        """
        confirm_memory_free(pids)
        with contextlib.suppress(PreflightError):  # a record too many does no harm
            self._write(supervisor=None, command=(), log="")

    def _write(self, **changes: object) -> None:
        self.record = self.record.model_copy(update=changes)
        lease_records.write(self._path, self.record)

    def close(self) -> None:
        """Remove the record, unless something of the lease may still live."""
        if self.record.supervisor is None:
            self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def lease(
    device: Device,
    *,
    count: int = 1,
    what: str,
    settings: Settings,
    progress: Progress,
    on_wait: Callable[[float], None] = lambda seconds: None,
) -> Iterator[Lease]:
    """Hold accelerators while the block runs; before that, end what dead runs left behind.

    Give it to `processes.start`, so that the engine inherits the accelerators.

    Args:
        device: What to compute on.
        count: How many of its accelerators.
        what: What for, for people who have to wait: `run sample-1, base`.
        settings: Where leases are kept, which accelerators may be taken, how long to wait.
        progress: Hears who holds the accelerators, as long as they are taken.
        on_wait: Hears every second for how long it was waited.

    Raises:
        AcceleratorsTaken: They were not free in time.
        PreflightError: This run may not take so many, or the folder of leases cannot be used.
        ProcessesLeft: What a dead run left on these accelerators cannot be ended.
    """
    folder = settings.leases.expanduser().absolute()
    wanted = accelerators.allowed(device, settings.accelerators)
    left: list[tuple[LeaseRecord, ProcessesLeft]] = []

    def prepare() -> None:
        left.extend(sweep(settings, progress, but=[record.mark for record, _ in left]))

    def holders() -> str:
        names = [slot.name for slot in wanted or ()]
        return "; ".join(lease_records.holders(folder, names)) or "a program of this machine"

    def waiting(seconds: float) -> None:
        beside.require_going()
        lost = {name for record, _ in left for name in record.slots}
        if len([slot for slot in wanted or () if slot.name not in lost]) < count:
            raise left[0][1]  # whatever holds them will not end
        progress.update(f"waiting for an accelerator, held by {holders()}", int(seconds), None, "s")
        on_wait(seconds)

    taken = accelerators.take(
        wanted or (), count if wanted is not None else 0,
        folder=folder, wait_seconds=settings.slot_wait_seconds,
        prepare=prepare, on_wait=waiting, holders=holders,
    )  # fmt: skip
    with taken as slots:
        # Again: an engine may have lost driver and supervisor just now, and with them its slot.
        prepare()
        for record, error in left:
            if set(record.slots) & set(slots.names):
                raise error
        mark = uuid4().hex
        driver = Identity.of(os.getpid())
        assert driver is not None  # noqa: S101 -- it is us
        record = LeaseRecord(
            mark=mark, what=what, started=datetime.now().astimezone(), slots=slots.names,
            boot=process_trees.boot_id(), namespace=process_trees.namespace(), driver=driver,
        )  # fmt: skip
        held = Lease(slots, record, folder / f"{mark}.json")
        lease_records.write(folder / f"{mark}.json", record)
        try:
            yield held
        finally:
            held.close()


def sweep(
    settings: Settings, progress: Progress, *, but: Sequence[str] = ()
) -> list[tuple[LeaseRecord, ProcessesLeft]]:
    """End what dead runs left behind, and return what could not be ended.

    Temporary folders that lost their supervisor go too.

    Any number of sweeps may run at once.

    Args:
        settings: Where leases are kept.
        progress: Hears what is ended.
        but: Marks of what is not tried again.
    """
    folder = settings.leases.expanduser().absolute()
    left = []
    for path in sorted(folder.glob("*.json")):
        record = lease_records.read(path)
        if record is None or path.stem != record.mark or record.mark in but:
            continue
        if record.boot != process_trees.boot_id():
            path.unlink(missing_ok=True)  # no process of it has lived since
            continue
        if record.namespace != process_trees.namespace() or record.driver.alive():
            continue
        try:
            _end(record, progress)
        except ProcessesLeft as error:
            progress.say(str(error))
            left.append((record, error))
        else:
            path.unlink(missing_ok=True)
    temporary_folder.sweep()
    return left


def confirm_memory_free(pids: Sequence[int]) -> None:
    """Wait until no GPU holds memory for processes that are gone.

    Raises:
        ProcessesLeft: One still does after some seconds, or its driver does not say.
    """
    deadline = time.monotonic() + _MEMORY_SECONDS
    while left := _held_for(pids):
        if time.monotonic() > deadline:
            raise ProcessesLeft(
                left,
                cause="The GPU driver hangs.",
                remedy="Look at `nvidia-smi`; if the memory does not come free, restart the "
                "machine.",
            )
        time.sleep(_POLL_SECONDS)


def _held_for(pids: Sequence[int]) -> str:
    """Return what a GPU holds for processes that are gone; empty if nothing."""
    if not pids:
        return ""
    gone = ", ".join(map(str, pids))
    try:
        held = {pid: size for pid, size in memory_holders().items() if pid in set(pids)}
    except TimeoutError as error:
        return f"Processes {gone} are gone, but not surely their memory on a GPU: {error}."
    if not held:
        return ""
    gone, size = ", ".join(map(str, held)), sum(held.values()) // 2**20
    return f"Processes {gone} are gone, but a GPU still holds {size} MiB for them."


def _end(record: LeaseRecord, progress: Progress) -> None:
    """End whatever is left of a lease: by its supervisor if he lives, else one by one."""
    # Between its start and the next line of its record only the mark tells a supervisor.
    supervisor = record.supervisor or Identity(pid=-1, started=-1)

    def find() -> list[psutil.Process]:
        return process_trees.find_left(record.mark, supervisor)

    found = find()
    if not found:
        return
    pids = [process.pid for process in found]
    progress.say(
        f"ending what a dead run left behind: {record.what}, processes {', '.join(map(str, pids))}"
    )
    # A supervisor ends its tree in order, the command before what it started.
    first = [process for process in found if process.pid == supervisor.pid and supervisor.alive()]
    process_trees.terminate(first or found)
    process_trees.wait_gone(find, GRACE_SECONDS + (AFTER_GRACE_SECONDS if first else 0))
    process_trees.kill(find)
    confirm_memory_free(pids)
