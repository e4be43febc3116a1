"""What an engine is timed at, and what was measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from infra.contracts.records import Record, SpeedPoint
from infra.machine.processes import Child

_PART = 8
"""Requests from which on an interval says something."""


class Point(Record):
    """One place to measure at."""

    input_tokens: int
    output_tokens: int
    concurrency: int
    requests: int
    """At most."""

    precision: float = 0.0
    """Half-width of the 95 % interval of a request's mean time at which fewer are enough, as a
    share of that mean. Zero asks all."""

    @property
    def part(self) -> int:
        """Requests that are asked before one looks again: two rounds, so that all are in flight."""
        return max(_PART, 2 * self.concurrency)

    @property
    def what(self) -> str:
        """In words."""
        return f"{self.input_tokens} tokens in, {self.concurrency} at a time"


def half_width(seconds: Sequence[float]) -> float | None:
    """Return half the width of the 95 % interval of a mean, by Student's t, as a share of it.

    None of fewer than two times.
    """
    from scipy import stats

    if len(seconds) < 2 or not (mean := statistics.fmean(seconds)):
        return None
    t = float(stats.t.ppf(0.975, len(seconds) - 1))
    return t * statistics.stdev(seconds) / math.sqrt(len(seconds)) / mean


def left_out(points: Sequence[Point], budget_seconds: float | None) -> list[str]:
    """Return what is said of points for which the budget left no time."""
    return [
        f"not timed with {point.what}: the {budget_seconds:g} s of speed.budget_seconds were spent"
        for point in points
    ]


class Worker(NamedTuple):
    """A process that is ready to time a server."""

    child: Child
    folder: Path
    """Receives what it is asked and what it answers."""


class Timing(NamedTuple):
    """What was measured at some points."""

    points: tuple[SpeedPoint, ...]
    doubts: tuple[str, ...]
    """In which ways something else was measured than was asked for."""

    command: tuple[str, ...]
    """What measured the first point, for people to run by hand; no secret in it."""
