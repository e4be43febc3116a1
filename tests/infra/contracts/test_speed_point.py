from __future__ import annotations

import pytest

from tests.infra.probes.speed.made import point

ANSWERS = ((100.0, 10.0), (200.0, 10.0), (100.0, 30.0), (90.0, None))


@pytest.mark.parametrize(
    ("ttft", "tpot", "kept"),
    [(150, None, 3), (None, 20, 3), (150, 20, 2), (100, 10, 2), (1, 1, 0), (1000, 1000, 4)],
)
def test_goodput_is_of_the_requests_that_keep_both(
    ttft: float | None, tpot: float | None, kept: int
) -> None:
    timed = point(answers=ANSWERS, seconds=8.0)
    assert timed.goodput(ttft, tpot) == kept / 8.0


def test_without_an_objective_or_single_times_there_is_none() -> None:
    assert point(answers=ANSWERS).goodput(None, None) is None
    assert point(answers=()).goodput(100, 100) is None
