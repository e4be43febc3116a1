"""Which cores of the processor what is started here may compute on."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

_SPARE = 4
"""So many are enough for an engine on an accelerator, those who ask it, and one more that loads."""


def to_spare() -> bool:
    """Return whether something may load without slowing what goes on meanwhile."""
    return len(os.sched_getaffinity(0)) >= _SPARE


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
