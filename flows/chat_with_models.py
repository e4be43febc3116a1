"""How do a run's baseline and candidate answer what people ask?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from prefect import flow
from pydantic import Field

from infra.stages.chat import PageOptions
from tasks.chat import serve_chat


@flow(name="chat-with-models")
def chat_with_models(
    run: str,
    candidate: str | None = None,
    blind: bool = True,
    port: Annotated[int | None, Field(ge=1024, le=65535)] = None,
    idle_minutes: Annotated[float | None, Field(gt=0)] = 60,
) -> None:
    """Serve a run's baseline and one of its candidates, with a page that asks both the same.

    The page is on the worker's machine, on loopback alone. Cancel the run to end it.

    Args:
        run: Folder of a finished run, or its name in the folder of the runs.
        candidate: Which one. Empty: the run's only one.
        blind: Begin with hidden names, and a vote after each message.
        port: Of the page. Empty: a free one, which the run's log and its artifact name.
        idle_minutes: It ends by itself when nobody has had the page open for so long. Empty: never.
    """
    serve_chat(Path(run), candidate, PageOptions(blind, port, idle_minutes))
