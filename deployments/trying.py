"""The command that lets people try a run's models: `chat`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from infra.contracts import exit_codes
from infra.contracts.errors import ProcessError, ServerError
from infra.contracts.progress import Progress
from infra.store.settings import Settings

COMMANDS = ("chat",)


def add_commands(commands: Any) -> None:
    """Add it to the parsers of the command line."""
    text = "serve a run's baseline and candidate, and open a page that asks both the same"
    chat = commands.add_parser(
        "chat", help=text, description=f"{text}; Ctrl-C ends it, and nothing is left",
        epilog="Exit codes: 0 when it was ended; 1 if an engine or the page failed; 2 for what "
        "cannot be tried, with nothing served.",
    )  # fmt: skip
    chat.add_argument("run", type=Path, help="a run's folder, its report.json, or its name")
    chat.add_argument("--candidate", help="which one, where the run has several")
    chat.add_argument(
        "--blind", action="store_true", help="hide the names, and vote on each pair of answers"
    )
    chat.add_argument("--port", type=int, help="port of the page on loopback; a free one if left")


def carry_out(given: argparse.Namespace, progress: Progress) -> int:
    """Serve until somebody ends it, and return the exit code."""
    from infra.stages.chat import PageOptions, chat, choose

    settings = Settings()
    chosen = choose(given.run, given.candidate, settings)
    options = PageOptions(blind=given.blind, port=given.port)
    try:
        with _ended_by_signals():
            chat(
                chosen, options, settings=settings, progress=progress,
                on_open=lambda url: print(f"chat: {url}\nCtrl-C ends it.", flush=True),
            )  # fmt: skip
    except KeyboardInterrupt:
        with suppress(OSError):  # the terminal may be what was closed
            print("assay: the chat has ended; votes are kept", file=sys.stderr)
    except (ServerError, ProcessError) as error:
        print(f"assay: {error}", file=sys.stderr)
        return exit_codes.FAILED
    return exit_codes.DONE


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """End in order on SIGTERM and when the terminal is closed, as on Ctrl-C."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
