"""A line for whoever reads a file: what an automation has to say."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from tasks.note import add_line


@flow(name="write-note")
def write_note(file: str, line: str) -> None:
    """Add a line to a file of the machine whose worker carries this out.

    Args:
        file: The file; it is made if there is none.
        line: What is added.
    """
    add_line(Path(file), line)
