"""Checks of the store: its form, its size by kind, the disks, who holds which accelerator."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from infra.contracts.errors import NotEnough
from infra.contracts.specs import ResultsSpec
from infra.housekeeping.disk import taken
from infra.housekeeping.doctor.looking import Check
from infra.housekeeping.kinds import NAMES, entries, unknown
from infra.housekeeping.plan import is_stale
from infra.housekeeping.runs import runs_in
from infra.machine import lease_records
from infra.models.memory_need import GIB
from infra.preflight import machine as of_a_run
from infra.preflight.findings import Finding, note, ok
from infra.store import store_format
from infra.store.run_folder import runs_folder
from infra.store.settings import Settings
from infra.store.usage import lists

_LEAST = GIB
_FEW = 10 * GIB


def checks(settings: Settings) -> list[Check]:
    """Return all of them."""
    cache, runs = settings.cache.expanduser().absolute(), runs_folder(ResultsSpec(), settings)
    return [
        Check("store", partial(form, cache)),
        Check("cache folder", partial(of_a_run.folder, cache, "cache")),
        Check("runs folder", partial(of_a_run.folder, runs, "runs")),
        Check("free disk", partial(free, cache)),
        Check("disk by kind", partial(by_kind, cache), may_be_slow=True),
        Check("runs", partial(runs_there, runs), may_be_slow=True),
        Check("leases", partial(leases, settings)),
    ]


def form(cache: Path) -> Finding | str:
    """Say in which form the store is, and how many processes use it.

    Raises:
        StoreError: It is of a later version.
    """
    found = store_format.require_known(cache)
    alive = sum(one.alive for one in lists(cache))
    text = f"{cache}, form {found} of {store_format.FORMAT}, used by {alive} processes"
    strange = [path.name for path in unknown(cache)]
    return note("", f"{text}; not Assay's: {', '.join(strange)}") if strange else text


def free(cache: Path) -> Finding | str:
    """Say how much room the store's disk has.

    Raises:
        NotEnough: Next to nothing.
    """
    left = shutil.disk_usage(of_a_run.existing(cache)).free
    if left < _LEAST:
        raise NotEnough(
            f"The disk of {cache} has {left / GIB:.1f} GiB free.",
            remedy="Look what `make gc` would free, or point ASSAY_CACHE to a larger disk.",
        )
    text = f"{left / GIB:.1f} GiB"
    return note("", f"{text}: few for an engine and a model") if left < _FEW else text


def by_kind(cache: Path) -> list[Finding]:
    """Say how much of the disk each kind takes."""
    there = list(entries(cache))
    sizes = zip(there, taken(entry.paths for entry in there), strict=True)
    totals: dict[str, list[int]] = {}
    for entry, size in sizes:
        totals.setdefault(entry.kind, []).append(size)
    return [
        ok(f"disk: {name}", f"{_readable(sum(totals[name]))} in {len(totals[name]):,}")
        for name in NAMES
        if name in totals
    ] or [ok("disk by kind", "nothing is kept yet")]


def runs_there(folder: Path) -> str:
    """Say how many runs there are."""
    found = runs_in(folder)
    size = sum(taken([run.path] for run in found))
    return f"{len(found):,} in {folder}, {_readable(size)}"


def leases(settings: Settings) -> list[Finding]:
    """Say who holds accelerators, and which records nobody needs any more."""
    folder = settings.leases.expanduser().absolute()
    found = []
    for path in sorted(folder.glob("*.json")):
        record = lease_records.read(path, own=False)
        if record is None or path.stem != record.mark:
            continue
        who = f"{', '.join(record.slots) or 'nothing'} by process {record.driver.pid} since "
        who += f"{record.started.astimezone():%d %b %H:%M} ({record.what})"
        if is_stale(record):
            gone = f"{who}, which is gone"
            remedy = "The next run clears it, or `make gc DELETE=1`."
            found.append(Finding(name="lease", status="note", found=gone, remedy=remedy))
        else:
            found.append(ok("lease", who))
    return found or [ok("leases", f"none is held, in {folder}")]


def _readable(size: int) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB // 10 else f"{size / 2**20:.1f} MiB"
