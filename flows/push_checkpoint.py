"""Puts a checkpoint that passed on a hub."""

from __future__ import annotations

from typing import Any

from prefect import State, flow

from tasks.push import push_passed


@flow(name="push-checkpoint")
def push_checkpoint(
    report: str,
    to: str,
    candidate: str | None = None,
    dry_run: bool = True,
    private: bool = True,
) -> State[Any]:
    """Put a candidate's checkpoint on a hub, with its model card and its receipt.

    Refused is anything but a PASS of that very checkpoint: the report has to hold, and the files on
    this machine have to be those that were evaluated. The token is taken from the environment of
    the worker.

    Args:
        report: Folder of the run, as runs/RUN.
        to: hf:owner/name or modelscope:owner/name.
        candidate: Which one, if the run has several.
        dry_run: Say what would be put where, and send nothing.
        private: Whether a repository that is made for it is private.

    Returns:
        The address of its page, in the state `Pushed`; or `Dry run`.
    """
    return push_passed(report, to, candidate, dry_run, private)
