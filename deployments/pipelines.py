"""Commands for other people's pipelines: `export`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from infra.contracts import exit_codes
from infra.contracts.progress import Progress

COMMANDS = ("export",)

_SUMMARY_FILE = "GITHUB_STEP_SUMMARY"
"""Variable that names the file to which a job of GitHub Actions adds its summary."""


def add_commands(commands: Any) -> None:
    """Add them to the parsers of the command line."""
    text = "write a run's verdict as JSON, JUnit XML or the summary of a CI job"
    export = commands.add_parser(
        "export", help=text, description=text,
        epilog="Exit codes: 0 if it is written, with --gate that of the verdict: 0, 3 or 4; 2 if "
        "there is no report with a receipt, or it is not what was sealed.",
    )  # fmt: skip
    export.add_argument("report", type=Path, help="a run's report.json, or the run's folder")
    export.add_argument("--format", choices=("verdict", "junit", "summary"), default="verdict")
    export.add_argument(
        "--out", type=Path, metavar="FILE",
        help=f"file to write, - for stdout; without it stdout, but for a summary the file that "
        f"{_SUMMARY_FILE} names, where that is set",
    )  # fmt: skip
    export.add_argument(
        "--gate", action="store_true", help="end with the exit code of the verdict: 0, 3 or 4"
    )


def carry_out(given: argparse.Namespace, progress: Progress) -> int:
    """Carry out one of them and return the exit code."""
    from infra.report.export import FORMATS, document_of

    document = document_of(given.report)
    put(FORMATS[given.format](document), given.out, progress, summary=given.format == "summary")
    return document.exit_code if given.gate else exit_codes.DONE


def put(text: str, out: Path | None, progress: Progress, *, summary: bool) -> None:
    """Write a text where it was asked for.

    Args:
        text: The text.
        out: The file, `-` for stdout; none if nobody said.
        progress: Says where it went.
        summary: Whether it belongs to the summary of a CI job, which others add to as well.
    """
    from infra.store.content import write_atomically

    job = os.environ.get(_SUMMARY_FILE) if summary else None
    if str(out) == "-" or (out is None and not job):
        print(text, end="")
    elif out is not None:
        write_atomically(out, text)
        progress.say(f"written: {out}")
    else:
        with Path(str(job)).open("a", encoding="utf-8") as file:
            file.write(text)
        progress.say(f"added to the job's summary: {job}")
