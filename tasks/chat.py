"""Serve two models of a run beside each other, and say where the page is."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.artifacts import create_link_artifact

from infra.stages.chat import PageOptions, chat, choose
from infra.store.settings import Settings
from tasks.progress import reported_to_prefect


@task(name="chat")
def serve_chat(run: Path, candidate: str | None, options: PageOptions) -> None:
    """Serve both models and the page. They live and end inside this task."""
    settings = Settings()
    chosen = choose(run, candidate, settings)
    with reported_to_prefect() as progress:

        def opened(url: str) -> None:
            progress.say(f"the page is open on the worker's machine: {url}")
            create_link_artifact(link=url, link_text="The page", key="chat")

        chat(chosen, options, settings=settings, progress=progress, on_open=opened)
