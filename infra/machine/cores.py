"""Which cores of the processor what is started here may compute on, and how much of their time."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")

_SPARE = 4
"""So many are enough for an engine on an accelerator, those who ask it, and one more that loads."""


def count() -> int:
    """Return how many cores' worth of work this process may do at a time, at least one.

    A container that may take the time of two processors (`--cpus=2`) sees all of its machine's, and
    is halted as soon as more threads than these compute.
    """
    share = quota()
    return allowed() if share is None else min(allowed(), max(1, int(share)))


def allowed() -> int:
    """Return how many cores this process may compute on, if at times only."""
    return len(os.sched_getaffinity(0))


def quota() -> float | None:
    """Return how many processors' time this process may take; none if all that there is.

    That is the least of what its control groups may take, and those above them: quota over period
    of `cpu.max` (version 2), or of `cpu.cfs_quota_us` and `cpu.cfs_period_us` (version 1).
    """
    return min((share for group in _groups() if (share := _share(group))), default=None)


def _groups() -> Iterator[Path]:
    with suppress(OSError):
        for line in _OWN_GROUPS.read_text(encoding="utf-8").splitlines():
            _, controllers, place = line.split(":", maxsplit=2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            group = top = _GROUPS / "cpu" if controllers else _GROUPS
            # Inside of a container its own group may be the top, whatever it is called outside.
            yield top
            for name in Path(place).parts[1:]:
                group /= name
                yield group


def _share(group: Path) -> float | None:
    with suppress(OSError, ValueError):
        if (both := group / "cpu.max").is_file():
            limit, period = both.read_text(encoding="utf-8").split()
        else:
            limit, period = (
                (group / f"cpu.cfs_{name}_us").read_text(encoding="utf-8")
                for name in ("quota", "period")
            )
        if limit != "max" and int(limit) > 0:
            return int(limit) / int(period)
    return None


def to_spare() -> bool:
    """Return whether something may load without slowing what goes on meanwhile."""
    return count() >= _SPARE


def parted(among: int) -> list[set[int]]:
    """Return the cores of this process in equal parts; all of them in each if there are too few."""
    there = sorted(os.sched_getaffinity(0))
    each = len(there) // among
    return [set(there[place * each : (place + 1) * each] or there) for place in range(among)]


@contextmanager
def confined(cores: Collection[int]) -> Iterator[None]:
    """Start children on these cores alone, for as long as the block runs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
