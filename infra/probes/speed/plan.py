"""Where is timed: pure functions of the spec."""

from __future__ import annotations

from infra.contracts.specs import SpeedSpec
from infra.engines.timing import Point


def points(spec: SpeedSpec) -> tuple[Point, ...]:
    """Return all points that were asked for; every one takes two rounds at its concurrency."""
    return tuple(
        Point(
            input_tokens=tokens,
            output_tokens=spec.output_tokens,
            concurrency=concurrency,
            requests=max(spec.requests, 2 * concurrency),
            precision=spec.precision,
        )
        for tokens in spec.input_tokens
        for concurrency in spec.concurrencies
    )


def fits(point: Point, max_model_len: int) -> bool:
    """Tell whether prompt and answer fit into the served window."""
    return point.input_tokens + point.output_tokens <= max_model_len
