"""What the NVIDIA driver tells of the GPUs.

A process of its own asks it: a driver that hangs answers nobody, and a call into it cannot
be given up from within. Nor does this process then hold anything of the driver open.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from infra.contracts.records import Record

_QUERY = Path(__file__).with_name("nvml_query.py")


class Process(Record):
    """A process that computes on a GPU."""

    pid: int
    memory_bytes: int | None
    """None where the driver does not tell."""


class Card(Record):
    """A GPU."""

    index: int
    """In the order of nvidia-smi."""

    uuid: str
    name: str
    memory_bytes: int | None
    """None for one that has no memory of its own."""

    energy_millijoules: int | None = None
    """That the whole board has taken since its driver was loaded. None where the driver does not
    tell, and of one that is divided (MIG)."""

    processes: tuple[Process, ...]


class Answer(Record):
    """What the driver tells; see `nvml_query`."""

    version: Literal[1] = 1
    error: str | None
    """Why nothing is known."""

    late: bool = False
    """It did not come in time."""

    driver: str | None = None
    """Version of the driver."""

    gpus: tuple[Card, ...] = ()


def command() -> tuple[str, ...]:
    """Return what asks the driver, and prints an `Answer`."""
    return (sys.executable, "-I", str(_QUERY))


def ask(seconds: float) -> Answer:
    """Ask the driver.

    Args:
        seconds: How long to wait for it.
    """
    try:
        query = subprocess.run(
            command(), capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return Answer(error=f"no answer within {seconds:g} seconds", late=True)
    except OSError:
        return Answer(error="no answer")
    return understood(query.stdout)


def understood(said: str) -> Answer:
    """Return what `command` has printed."""
    try:
        return Answer.model_validate_json(said)
    except ValidationError:
        return Answer(error="no answer")
