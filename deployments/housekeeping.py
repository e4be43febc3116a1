"""Commands that look after a machine: `gc` and `doctor`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.contracts.commands import PYTHON
from infra.contracts.progress import Progress
from infra.contracts.specs import ResultsSpec
from infra.housekeeping.policy import ALL, Policy
from infra.store.run_folder import runs_folder
from infra.store.settings import Settings

COMMANDS = ("gc", "doctor")
_LEFT = _PROBLEMS = 1


def add_commands(commands: Any) -> None:
    """Add them to the parsers of the command line."""
    default = Policy()
    text = "say what could be freed of old runs and of the store, or free it"
    gc = commands.add_parser(
        "gc", help=text, description=f"{text}. What a kept run needs stays, and what a process "
        "uses that lives. Without --delete nothing is changed.",
        epilog="Exit codes: 0 if all went that was to go; 1 if something of it is needed by now, "
        "or could not be deleted.",
    )  # fmt: skip
    gc.add_argument("--delete", action="store_true", help="free it")
    gc.add_argument(
        "--keep-days", type=_not_negative(float), default=default.keep_days, metavar="N",
        help=f"keep what was used within N days ({default.keep_days:g})",
    )  # fmt: skip
    gc.add_argument(
        "--keep-runs", type=_not_negative(int), default=default.keep_runs, metavar="N",
        help=f"keep the newest N finished runs of each label ({default.keep_runs})",
    )  # fmt: skip
    gc.add_argument(
        "--keep-label", action="append", default=[], metavar="LABEL",
        help="keep all runs of a label (may be repeated)",
    )  # fmt: skip
    gc.add_argument(
        "--label", action="append", default=[],
        help="free runs of this label alone (may be repeated)",
    )  # fmt: skip
    gc.add_argument(
        "--kind", action="append", default=[], choices=ALL, metavar="KIND",
        help=f"free this alone (may be repeated): {', '.join(ALL)}",
    )  # fmt: skip
    gc.add_argument(
        "--runs", type=Path, action="append", default=[], metavar="FOLDER",
        help="folder of runs (ASSAY_RUNS, or ./runs; may be repeated); runs elsewhere are kept",
    )  # fmt: skip
    gc.add_argument("--list", action="store_true", help="name every file and folder that goes")

    text = "say what is the matter with this machine, its store and its Prefect server"
    commands.add_parser(
        "doctor", help=text, description=f"{text}. Nothing is changed, and nothing downloaded.",
        epilog="Exit codes: 0 without a problem; 1 with one. What is only worth knowing is a note.",
    )  # fmt: skip


def _not_negative(kind: type[float]) -> Callable[[str], float]:
    """Return what reads a number that is 0 or more: with less everything would go."""

    def number(text: str) -> float:
        value = kind(text)
        if not value >= 0:
            raise argparse.ArgumentTypeError(f"{text} is less than 0, or no number")
        return value

    number.__name__ = kind.__name__  # argparse names it where a text is no number at all
    return number


def carry_out(given: argparse.Namespace, progress: Progress) -> int:
    """Carry out one of them and return the exit code."""
    return _doctor(progress) if given.command == "doctor" else _gc(given, progress)


def _doctor(progress: Progress) -> int:
    from deployments.server_checks import look_at_server
    from infra.housekeeping.doctor import Check, elsewhere, looked_at, machine, store
    from infra.preflight.findings import problems, table

    settings = Settings()
    server = [Check("Prefect server", look_at_server)]
    checks = [*machine.checks(settings), *store.checks(settings), *server, *elsewhere.checks()]
    progress.say(f"looking at {len(checks)} things")
    findings = looked_at(checks, progress)
    print(table(findings))
    return _PROBLEMS if problems(findings) else 0


def _gc(given: argparse.Namespace, progress: Progress) -> int:
    from infra.housekeeping.freeing import free
    from infra.housekeeping.kinds import unknown
    from infra.housekeeping.plan import planned
    from infra.housekeeping.summary import table
    from infra.store import store_format

    settings = Settings()
    store_format.require_known(settings.cache)
    policy = Policy(
        keep_days=given.keep_days,
        keep_runs=given.keep_runs,
        keep_labels=frozenset(given.keep_label),
        labels=frozenset(given.label),
        kinds=frozenset(given.kind or ALL),
    )
    plan = planned(policy, settings, given.runs or [runs_folder(ResultsSpec(), settings)])
    print(table(plan))
    if given.list:
        print(*(path for item in plan.freed for path in item.paths), sep="\n")
    for path in unknown(plan.cache):
        progress.say(f"{path} is nothing of Assay's, and stays")
    count = f"{len(plan.freed):,} {'thing' if len(plan.freed) == 1 else 'things'}"
    if not given.delete:
        print(f"\n{plan.bytes:,} bytes would come free, of {count}. Nothing was deleted: "
              "--delete (`make gc DELETE=1`) does it.")  # fmt: skip
        return 0
    progress.say(f"freeing {count}")
    freed = free(plan, settings, progress)
    print(f"\n{freed.bytes:,} bytes came free; {plan.bytes:,} were said, of {count}.")
    for path, why in freed.stayed.items():
        print(f"stayed: {path}: {why}", file=sys.stderr)
    if freed.stayed:
        print(f"`{PYTHON} -m deployments gc` says what is left.", file=sys.stderr)
    return _LEFT if freed.stayed else 0
