"""Put a checkpoint that passed on a hub, or say what that would be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import State, task
from prefect.artifacts import create_markdown_artifact
from prefect.states import Completed

from infra.report.text import escaped
from infra.stages.pushing import plan, push
from tasks.outcomes import value_of
from tasks.progress import reported_to_prefect


def push_passed(
    report: str, to: str, candidate: str | None, dry_run: bool, private: bool
) -> State[Any]:
    """Do it inside a flow, and return the state in which that ends."""
    address = value_of(push_candidate(report, to, candidate, dry_run, private))
    if address is None:
        return Completed(name="Dry run", message="Nothing was sent; the artifact says what would.")
    return Completed(name="Pushed", message=address, data=address)


@task(name="push-candidate", task_run_name="push-to-{to}")
def push_candidate(
    report: str, to: str, candidate: str | None, dry_run: bool, private: bool
) -> str | None:
    """Show what is pushed as an artifact, and push it.

    Returns:
        The address of its page; none if it is only said.

    Raises:
        PushRefused: It is no PASS of the files that are here, or the hub refuses it.
    """
    with reported_to_prefect() as progress:
        planned = plan(Path(report).expanduser(), to, candidate)
        create_markdown_artifact(
            f"```\n{planned.table()}\n```\n\n## The model card\n\n{planned.card}",
            key="push",
            description=escaped(f"{planned.candidate} → {to}"),
        )
        if dry_run:
            progress.say(f"a dry run: nothing is sent\n{planned.table()}")
            return None
        return push(planned, progress, private=private)
