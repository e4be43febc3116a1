"""When Python looks for garbage.

It looks through all that a process holds whenever that has grown by a quarter. Where many rows are
read, written or marked, most of the time would go into it, and among rows there is no garbage.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage while the block runs."""
    with _collecting(False):
        yield


@contextmanager
def collected() -> Iterator[None]:
    """Look for garbage while the block runs, though it is within one of `uncollected`."""
    with _collecting(True):
        yield


@contextmanager
def _collecting(wanted: bool) -> Iterator[None]:
    before = gc.isenabled()
    _switch(wanted)
    try:
        yield
    finally:
        _switch(before)


def _switch(on: bool) -> None:
    gc.enable() if on else gc.disable()
