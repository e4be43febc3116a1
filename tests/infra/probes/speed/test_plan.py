from __future__ import annotations

import pytest

from infra.contracts.specs import SpeedSpec
from infra.engines.timing import Point
from infra.probes.speed import plan

SPEC = SpeedSpec(input_tokens=(128, 2048), output_tokens=32, concurrencies=(1, 16), requests=16)


def test_every_length_is_measured_at_every_concurrency_with_two_rounds_at_least() -> None:
    places = [
        (point.input_tokens, point.concurrency, point.requests) for point in plan.points(SPEC)
    ]
    assert places == [(128, 1, 16), (128, 16, 32), (2048, 1, 16), (2048, 16, 32)]
    assert {point.output_tokens for point in plan.points(SPEC)} == {32}


@pytest.mark.parametrize(("window", "fits"), [(160, True), (159, False)])
def test_a_point_fits_if_prompt_and_answer_do(window: int, fits: bool) -> None:
    point = Point(input_tokens=128, output_tokens=32, concurrency=1, requests=16)
    assert plan.fits(point, window) is fits
