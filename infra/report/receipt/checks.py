"""What one check of a receipt says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Checked:
    """One thing that was checked."""

    name: str
    what: str
    """What was looked at, with its count."""

    wrong: tuple[str, ...] = ()
    """Every mismatch, named; none if all is as it should be."""

    notes: tuple[str, ...] = ()
    """What could not be checked, and why."""


def checked(name: str, what: str, wrong: Sequence[str] = (), notes: Sequence[str] = ()) -> Checked:
    """Return what a check says."""
    return Checked(name, what, tuple(wrong), tuple(notes))


def counted(number: int, one: str, many: str = "") -> str:
    """Return `1 file`, `2,000 files`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
