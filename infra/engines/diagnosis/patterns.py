"""By what a failure of an engine is recognized."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Value = bool | int | float
Adjust = Callable[[Mapping[str, str], str], dict[str, Value] | None]
"""From the named groups of the match and the whole log to field of the spec → value."""


def _nothing(found: Mapping[str, str], log: str) -> None:
    return None


@dataclass(frozen=True)
class Failure:
    """One failure of the table."""

    name: str
    patterns: tuple[str, ...]
    """Regular expressions. They are looked for in what the engine says of its failure; their named
    groups fill the texts below."""

    fact: str
    cause: str
    remedy: str
    field: str = ""
    """Of the spec, the one to change. Empty if none of them helps."""

    adjust: Adjust = _nothing
    """Gives a value with which the engine should come up, if one is safe."""

    needs: str = ""
    """Regular expression that the whole log must hold too."""

    never: str = ""
    """Regular expression that the whole log must not hold."""

    exit_code: int | None = None
    """Says it without any word in the log."""


@dataclass(frozen=True)
class Table:
    """The failures of one engine that are recognized, and how its log is read."""

    failures: tuple[Failure, ...]
    said: Callable[[str], str]
    """From a log to what the engine says of its failure in it."""

    first_error: Callable[[Path], str]
    """From the file of a log to the error in it that is not a consequence of others."""
