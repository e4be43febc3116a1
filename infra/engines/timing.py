"""What an engine is timed at, and what was measured."""

from __future__ import annotations

from typing import NamedTuple

from infra.contracts.records import Record, SpeedPoint


class Point(Record):
    """One place to measure at."""

    input_tokens: int
    output_tokens: int
    concurrency: int
    requests: int

    @property
    def what(self) -> str:
        """In words."""
        return f"{self.input_tokens} tokens in, {self.concurrency} at a time"


class Timing(NamedTuple):
    """What was measured at some points."""

    points: tuple[SpeedPoint, ...]
    doubts: tuple[str, ...]
    """In which ways something else was measured than was asked for."""

    command: tuple[str, ...]
    """What measured the first point, for people to run by hand; no secret in it."""
