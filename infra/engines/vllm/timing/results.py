"""What `vllm bench serve` measured, read strictly: a number that is missing is no measurement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from infra.contracts.records import SpeedPoint
from infra.engines.timing import Point
from infra.machine.energy import Meter
from infra.machine.nvml import understood

_OFF = 0.1
"""Share by which lengths may differ from those asked for; texts made of random tokens are not
always read as the same tokens."""


class Result(BaseModel):
    """One result of `vllm bench serve`, in its own names; it has many more."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)

    completed: int = Field(ge=0)
    failed: int = Field(ge=0)
    duration: float = Field(gt=0)
    """Seconds."""

    total_input_tokens: int
    total_output_tokens: int
    median_ttft_ms: float
    p99_ttft_ms: float
    median_tpot_ms: float
    p99_tpot_ms: float
    output_throughput: float
    total_token_throughput: float
    request_throughput: float
    half_width: float | None = None
    """Of the 95 % interval of a request's mean time, as a share of that mean."""

    answers: tuple[tuple[float, float | None], ...]
    """Of each answered request, milliseconds to the first token and for each further one."""

    readings: tuple[tuple[str, str], ...] = ()
    """Of each part, what the driver of its accelerators told right before and right after it."""


class Response(BaseModel):
    """What the worker leaves."""

    model_config = ConfigDict(strict=True, frozen=True)

    version: Literal[4]
    results: list[Result]


def speed_point(point: Point, result: Result, meter: Meter | None) -> SpeedPoint:
    """Return what was measured at one point.

    Args:
        point: Where.
        result: What the worker measured.
        meter: Of the server, which still lives.
    """
    return SpeedPoint(
        input_tokens=point.input_tokens,
        output_tokens=point.output_tokens,
        concurrency=point.concurrency,
        requests=result.completed,
        failed=result.failed,
        ttft_ms_median=result.median_ttft_ms,
        ttft_ms_p99=result.p99_ttft_ms,
        tpot_ms_median=result.median_tpot_ms,
        tpot_ms_p99=result.p99_tpot_ms,
        output_tokens_per_second=result.output_throughput,
        total_tokens_per_second=result.total_token_throughput,
        requests_per_second=result.request_throughput,
        seconds=result.duration,
        half_width=result.half_width,
        answers=result.answers,
        joules=_joules(result, meter),
    )


def _joules(result: Result, meter: Meter | None) -> float | None:
    """Return what all parts took together; none if that of one is not known."""
    if meter is None or not result.readings:
        return None
    parts = [meter.joules(*map(understood, part)) for part in result.readings]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def doubts(point: Point, result: Result) -> Iterator[str]:
    """Tell in which ways something else was measured than was asked for."""
    if result.failed:
        yield f"{result.failed} of {result.completed + result.failed} requests failed"
    if point.precision and (result.half_width or 0) > 2 * point.precision:
        yield (
            f"a request's time is known to ±{100 * (result.half_width or 0):.0f} % after "
            f"{result.completed} of them"
        )
    read = result.total_input_tokens / max(result.completed, 1)
    if abs(read - point.input_tokens) > _OFF * point.input_tokens:
        yield f"prompts had {read:.0f} tokens instead of {point.input_tokens}"
    written = result.total_output_tokens / max(result.completed, 1)
    if abs(written - point.output_tokens) > _OFF * point.output_tokens:
        yield f"answers had {written:.0f} tokens instead of {point.output_tokens}"
