from __future__ import annotations

import pytest

from infra.engines.load import Load
from infra.scoring.pace import MOST, START, Pace

IDLE = Load(running=128, waiting=0, cache=0.3, preemptions=0)
BUSY = Load(running=128, waiting=100, cache=0.3, preemptions=0)
FULL = Load(running=128, waiting=0, cache=0.95, preemptions=0)


def thrown_out(times: float) -> Load:
    return Load(running=128, waiting=0, cache=0.3, preemptions=times)


def test_it_doubles_while_the_server_takes_all_it_is_given() -> None:
    pace, limits = Pace(), []
    for _ in range(7):
        limits.append(pace.limit)
        pace.follow(IDLE, in_flight=pace.limit)
    assert limits == [128, 256, 512, 1024, 2048, 4096, 4096]
    assert (START, MOST) == (128, 4096)


@pytest.mark.parametrize("load", [BUSY, FULL], ids=["questions wait", "the cache is full"])
def test_it_holds_when_more_would_only_wait(load: Load) -> None:
    pace = Pace()
    pace.follow(load, in_flight=128)
    assert pace.limit == 128
    pace.follow(IDLE, in_flight=128)
    assert pace.limit == 256


def test_some_waiting_between_two_steps_is_no_queue() -> None:
    for waiting, limit in ((32, 256), (33, 128)):
        pace = Pace()
        pace.follow(Load(running=128, waiting=waiting, cache=0, preemptions=0), in_flight=128)
        assert pace.limit == limit


def test_it_holds_when_it_is_not_the_limit_that_holds_us_back() -> None:
    pace = Pace()
    pace.follow(IDLE, in_flight=63)
    assert pace.limit == 128
    pace.follow(IDLE, in_flight=64)
    assert pace.limit == 256


def test_it_halves_when_the_server_throws_sequences_out() -> None:
    pace = Pace()
    pace.follow(thrown_out(7), in_flight=0)  # by others, before us
    assert pace.limit == 128
    pace.follow(thrown_out(8), in_flight=128)
    assert pace.limit == 64


def test_it_halves_when_it_is_throttled_once_for_many_refusals() -> None:
    pace = Pace()
    for _ in range(50):  # all in flight are refused together
        pace.back_off()
    assert pace.limit == 64


def test_it_halves_again_while_sequences_are_thrown_out_at_every_look() -> None:
    pace, limits = Pace(), []
    for times in range(12):
        pace.follow(thrown_out(times), in_flight=pace.limit)
        limits.append(pace.limit)
    assert limits == [256, 128, 128, 128, 128, 64, 64, 64, 64, 32, 32, 32]


def test_it_halves_again_while_it_is_throttled_between_all_looks() -> None:
    pace, limits = Pace(), []
    for _ in range(9):
        pace.back_off()
        pace.follow(IDLE, in_flight=pace.limit)
        pace.back_off()
        limits.append(pace.limit)
    assert limits == [64, 64, 64, 32, 32, 32, 32, 16, 16]


def test_it_grows_again_after_a_pause() -> None:
    pace = Pace()
    pace.back_off()
    limits = []
    for _ in range(6):
        pace.follow(IDLE, in_flight=pace.limit)
        limits.append(pace.limit)
    assert limits == [64, 64, 64, 64, 128, 256]
    pace.back_off()
    assert pace.limit == 128


def test_it_never_falls_below_one() -> None:
    pace = Pace()
    for times in range(100):
        pace.follow(thrown_out(times), in_flight=pace.limit)
        for _ in range(5):
            pace.follow(Load(0, 100, 0, times), in_flight=pace.limit)
    assert pace.limit == 1


def test_a_server_that_starts_anew_counts_from_zero() -> None:
    pace = Pace()
    pace.follow(thrown_out(50), in_flight=0)
    pace.follow(thrown_out(0), in_flight=0)
    assert pace.limit == 128
    pace.follow(thrown_out(1), in_flight=0)
    assert pace.limit == 64


@pytest.mark.parametrize("fixed", [1, 16, 9000])
def test_a_named_number_never_moves(fixed: int) -> None:
    pace = Pace(fixed)
    for load in (IDLE, BUSY, thrown_out(9), FULL, IDLE):
        pace.follow(load, in_flight=fixed)
        pace.back_off()
    assert pace.limit == pace.highest == fixed


def test_it_remembers_its_highest() -> None:
    pace = Pace()
    pace.follow(IDLE, in_flight=128)
    pace.back_off()
    assert (pace.limit, pace.highest) == (128, 256)
