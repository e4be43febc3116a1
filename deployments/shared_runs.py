"""`fetch-runs`: finished runs of other machines, brought into this one's folder of runs."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from infra.contracts.errors import PreflightError
from infra.contracts.progress import Progress
from infra.contracts.specs import ResultsSpec
from infra.store.run_folder import runs_folder
from infra.store.settings import Settings
from infra.store.shared import shared_of

COMMANDS = ("fetch-runs",)


def add_commands(commands: Any) -> None:
    """Add it to the parsers of the command line."""
    text = "bring finished runs of other machines, and their history, from ASSAY_SHARED"
    fetch = commands.add_parser("fetch-runs", help=text, description=text)
    fetch.add_argument(
        "pattern", nargs="?", default="*", help="which, by the names of their folders (*)"
    )


def carry_out(given: argparse.Namespace, progress: Progress) -> int:
    """Bring them, print where they are, and return the exit code.

    Raises:
        PreflightError: There is no shared store, or it cannot be used.
    """
    from infra.stages.sharing import take_history

    settings = Settings()
    shared = shared_of(settings, progress)
    if shared is None:
        raise PreflightError(
            "Nothing is shared: ASSAY_SHARED is not set.",
            remedy="Set it to the URL that the workers have.",
        )
    shared.place.require_usable()
    runs = runs_folder(ResultsSpec(), settings)
    names = shared.bring_runs(given.pattern, runs)
    take_history(ResultsSpec(), settings, progress)
    for name in names:
        print(runs / name)
    if not names:
        print(f"assay: no run there is called {given.pattern}", file=sys.stderr)
    return 0
