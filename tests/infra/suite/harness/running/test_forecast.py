"""How long a task will take is said once its pace shows, and seldom after that."""

from __future__ import annotations

import pytest

from infra.suite.harness.running.forecast import Forecast


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def said() -> list[str]:
    return []


def test_what_is_left_is_forecast_by_the_pace_so_far(clock: Clock, said: list[str]) -> None:
    forecast = Forecast("judge", said.append, clock)
    forecast.look(0, 55_000)
    clock.now += 9
    forecast.look(60, 55_000)
    assert said == []  # too early
    clock.now += 1
    forecast.look(70, 55_000)
    assert said == [
        "judge: about 2 h 10 min for the 54,930 of 55,000 questions that are left, at 7 a second"
    ]
    clock.now += 40
    forecast.look(400, 55_000)
    assert len(said) == 1  # too soon to say it again
    clock.now += 10
    forecast.look(600, 55_000)
    assert len(said) == 2
    assert "at 10 a second" in said[1]


def test_answers_of_an_earlier_run_are_no_part_of_the_pace(clock: Clock, said: list[str]) -> None:
    forecast = Forecast("judge", said.append, clock)
    forecast.look(5_000, 10_000)
    clock.now += 20
    forecast.look(5_100, 10_000)
    assert "at 5 a second" in said[0]


def test_nothing_is_said_of_what_is_soon_done_or_hardly_begun(
    clock: Clock, said: list[str]
) -> None:
    forecast = Forecast("judge", said.append, clock)
    forecast.look(0, None)
    forecast.look(0, 100)
    clock.now += 60
    forecast.look(15, 100)  # too few to tell
    forecast.look(90, 100)  # seconds are left
    forecast.look(100, 100)
    assert said == []
