"""Locks that hold across machines: objects in the shared store, and nothing else.

A lock is a folder of numbered objects, and the one with the highest number says who holds it. Who
wants it creates the next number, which a store lets only one writer do. The holder writes its
object anew every few seconds, and at the end once more, as released. If an object stays as it is
for the length of a lease, measured by the clock of who waits, its holder is dead, and the next
number may be created: no clocks of two machines are ever compared, and no lock is ever deleted
that somebody might hold.

Whoever was only slow finds a higher number, and goes on without the lock. So a lock keeps machines
from doing the same twice; that nothing is ever half or mixed does not depend on it.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from infra.store.content import digest_of
from infra.store.shared.place import Place

_BEATS = 6
"""In the length of a lease."""

_LOOKS = 20
"""In the length of a lease, of those who wait."""

_LONGEST_WAIT_SECONDS = 2.0


@contextmanager
def held(
    place: Place,
    name: str,
    *,
    lease_seconds: float,
    on_wait: Callable[[], None],
    on_loss: Callable[[], None],
) -> Iterator[None]:
    """Hold a lock for the length of the block.

    Args:
        place: The store.
        name: What is locked, whole: contents decide it.
        lease_seconds: After how long without news a holder is dead; the same on every machine.
        on_wait: Called once if somebody else holds it.
        on_loss: Called if somebody took it over, since nothing was heard of this holder.

    Raises:
        Exception: Of the store's library: it could not be reached for the length of a lease.
    """
    folder = f"locks/{digest_of(name)[:32]}"
    number = _acquired(place, folder, lease_seconds, on_wait)
    released = threading.Event()
    beating = threading.Thread(
        target=_beat, args=(place, folder, number, lease_seconds, released, on_loss), daemon=True
    )
    beating.start()
    try:
        yield
    finally:
        released.set()
        beating.join()
        # Where the store is away the lease ends by itself.
        with suppress(Exception):
            place.put(_object(folder, number), _word(released=True))
            for older in place.names(folder):
                if int(older) < number:
                    place.remove(f"{folder}/{older}")


def _acquired(place: Place, folder: str, lease_seconds: float, on_wait: Callable[[], None]) -> int:
    last: object = None
    waiting = False
    since = reached = time.monotonic()
    while True:
        try:
            number, word = _newest(place, folder)
            free = number == 0 or _is_released(word)
            if (number, word) != last:
                last, since = (number, word), time.monotonic()
            if free or time.monotonic() - since >= lease_seconds:
                if place.create(_object(folder, number + 1), _word()):
                    return number + 1
                continue
            reached = time.monotonic()
        except Exception:  # of whichever library
            if time.monotonic() - reached >= lease_seconds:
                raise
            # Its holder may have written meanwhile: nobody knows.
            last = None
        if last is not None and not waiting:
            waiting = True
            on_wait()
        time.sleep(min(_LONGEST_WAIT_SECONDS, lease_seconds / _LOOKS))


def _beat(
    place: Place,
    folder: str,
    number: int,
    lease_seconds: float,
    released: threading.Event,
    on_loss: Callable[[], None],
) -> None:
    beat = 0
    while not released.wait(lease_seconds / _BEATS):
        beat += 1
        with suppress(Exception):  # the store is away: tried again at the next beat
            if _newest(place, folder)[0] > number:
                on_loss()
                return
            place.put(_object(folder, number), _word(beat=beat))


def _newest(place: Place, folder: str) -> tuple[int, bytes | None]:
    number = max((int(name) for name in place.names(folder) if name.isdigit()), default=0)
    return number, place.read(_object(folder, number)) if number else None


def _object(folder: str, number: int) -> str:
    return f"{folder}/{number:09}"


def _word(*, beat: int = 0, released: bool = False) -> bytes:
    holder = f"{socket.gethostname()}:{os.getpid()}"
    return json.dumps({"holder": holder, "beat": beat, "released": released}).encode()


def _is_released(word: bytes | None) -> bool:
    with suppress(ValueError, TypeError, AttributeError):
        return json.loads(word or b"").get("released") is True
    return False
