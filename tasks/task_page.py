"""What a task gave, as an artifact on the page of its run."""

from __future__ import annotations

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger


def show(markdown: str, description: str) -> None:
    """Show what this task gave. Without a key: only its page has it, no list of versions.

    A result stands, whether it can be shown or not.
    """
    try:
        create_markdown_artifact(markdown, description=description)
    except Exception as error:
        get_run_logger().warning(f"What came out is not shown in Prefect: {error}")
