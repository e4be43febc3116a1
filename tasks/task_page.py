"""What a task gave, as an artifact on the page of its run."""

from __future__ import annotations

from functools import partial

from prefect.artifacts import create_markdown_artifact

from tasks.news import pass_on


def show(markdown: str, description: str) -> None:
    """Show what this task gave. Without a key: only its page has it, no list of versions.

    A result stands, whether it can be shown or not, and does not wait for that.
    """
    pass_on(partial(create_markdown_artifact, markdown, description=description))
