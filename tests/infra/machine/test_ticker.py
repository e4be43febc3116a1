from __future__ import annotations

import threading

import pytest

from infra.machine.ticker import Ticker


def test_it_calls_again_and_again_while_the_block_runs() -> None:
    often = threading.Semaphore(0)
    with Ticker(0.001, often.release):
        for _ in range(5):
            assert often.acquire(timeout=60)


def test_nothing_is_called_before_the_first_pause_or_after_the_block() -> None:
    calls: list[int] = []
    with Ticker(600, lambda: calls.append(1)):
        pass
    assert calls == []
    enter, go = threading.Event(), threading.Event()

    def slow() -> None:
        enter.set()
        go.wait(60)
        calls.append(1)

    with Ticker(0.001, slow):
        assert enter.wait(60)
        threading.Timer(0.1, go.set).start()
    assert calls == [1]  # the end of the block waited for it, and none came after it


def test_who_has_no_patience_does_not_wait_for_a_call_under_way() -> None:
    enter, go, over = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        enter.set()
        go.wait(60)
        over.set()

    with Ticker(0.001, slow, patience=0.01):
        assert enter.wait(60)
    assert not over.is_set()
    go.set()
    assert over.wait(60)


def test_it_ends_when_the_block_fails() -> None:
    ticker = Ticker(0.001, lambda: None)
    with pytest.raises(KeyError), ticker:
        raise KeyError
    assert not ticker._thread.is_alive()
