"""What an automation has to say, as a line of a file."""

from __future__ import annotations

from pathlib import Path


def add_line(file: Path, line: str) -> None:
    """Add a line to a file of this machine; it is made if there is none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as notes:
        notes.write(line + "\n")  # one write: lines of several workers do not mix
