"""Locks across machines: one holder at a time, and none for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra.store.shared import Place, locks
from tests import object_store

LEASE = 1.5


def nothing() -> None:
    pass


def hold(place: Place, name: str, work: Callable[[], None], **told: Callable[[], None]) -> None:
    told = {"on_wait": nothing, "on_loss": nothing} | told
    with locks.held(place, name, lease_seconds=LEASE, **told):
        work()


def test_many_hold_it_one_after_the_other(url: str) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        inside.pop()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: hold(Place(url), "k", work), range(12)))
    assert most == [1] * 12


def test_another_lock_is_free(url: str) -> None:
    place = Place(url)
    hold(place, "k", lambda: hold(place, "other", nothing, on_wait=pytest.fail))


def test_a_holder_that_says_nothing_is_followed_by_one_of_those_who_wait(url: str) -> None:
    place = Place(url)
    hold(place, "k", nothing)
    (last,) = place.names(f"locks/{_folder(place)}")
    dead = f"locks/{_folder(place)}/{int(last) + 1:09}"
    place.create(dead, b"")  # created, and killed before a word was written
    waited: list[int] = []
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        inside.append(1)
        most.append(len(inside))
        time.sleep(1.2 * LEASE)  # longer than a lease
        inside.pop()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(
            lambda _: hold(place, "k", work, on_wait=lambda: waited.append(1)), range(2)
        ))  # fmt: skip
    assert most == [1] * 2
    assert len(waited) == 2
    assert len(place.names(f"locks/{_folder(place)}")) == 1


def _folder(place: Place) -> str:
    (name,) = place.names("locks")
    return name


def test_while_the_store_is_away_nobody_is_taken_for_dead() -> None:
    with object_store.serving() as store:
        place = Place(store.url)
        lost: list[int] = []
        order: list[str] = []
        holding, go = threading.Event(), threading.Event()

        def work() -> None:
            holding.set()
            go.wait()
            order.append("first")

        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(hold, place, "k", work, on_loss=lambda: lost.append(1))
            holding.wait()
            waits = threading.Event()
            second = pool.submit(
                hold, place, "k", lambda: order.append("second"), on_wait=waits.set
            )
            waits.wait()
            store.away = True
            time.sleep(0.7 * LEASE)
            store.away = False
            time.sleep(0.7 * LEASE)  # together longer than a lease
            go.set()
            first.result()
            second.result()
    assert (order, lost) == (["first", "second"], [])


def test_a_store_that_stays_away_is_an_error_and_no_wait_for_ever() -> None:
    with object_store.serving() as store:
        place = Place(store.url)
        store.away = True
        with pytest.raises(Exception, match="503"):
            hold(place, "k", nothing)
