"""Hurts runs in every way a machine can, and shows that nothing is left and nothing paid twice.

    python -m tests.chaos [--repeats 1] [--cases NAME …] [--device cuda]
                          [--keep FOLDER] [--template FOLDER]

A run on the real vLLM or llama.cpp, recorded by a real Prefect server, is hurt while its engine
starts, in the middle of its tasks, while it is timed, or while its checkpoint is made, by each of
the methods: signals to each of its processes, a full disk, a stolen port. Then nothing of it may
live after 35 seconds, its accelerator and the memory of that have to be free, everything that
exists has to be whole, and the same run, started again, has to succeed and pay only for what was
in flight.

Several of these may run at once on one machine. With one `--template` they pay once for the
undisturbed runs that their cases begin with.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import get_args

from tests.chaos import template
from tests.chaos.cases import CASES, NotHere
from tests.chaos.play import Row, play
from tests.chaos.subjects import Device
from tests.prefect_server import prefect_server

_COLUMNS = "{:<36}{:>8}{:>9}{:>6}{:>9}{:>10}{:>12}{:>10}   {}"
_HEADS = (
    "case", "repeats", "orphans", "lost", "re-paid", "restarts", "s to clean", "MiB left",
    "verdict",
)  # fmt: skip


def table(rows: list[Row]) -> str:
    """Return the rows as a text for the terminal."""
    lines = [_COLUMNS.format(*_HEADS)]
    for row in rows:
        verdict = "fine" if row.fine else "FAILED"
        if not row.repeats:
            verdict = f"skipped: {row.problems[0]}"
        lines.append(
            _COLUMNS.format(
                row.name, row.repeats, row.orphans, row.lost, row.repaid, row.restarts,
                f"{row.seconds:.1f}", "-" if row.mib_left is None else row.mib_left, verdict,
            )
        )  # fmt: skip
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    parser.add_argument(
        "--keep",
        type=Path,
        help="leave all there, and begin with the undisturbed run that is there",
    )
    parser.add_argument("--device", choices=get_args(Device), default="cpu")
    parser.add_argument(
        "--template",
        type=Path,
        help="folder of the undisturbed runs, made if it is not there; several may share it",
    )
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # with what it started
    # Whatever a shell starts behind a prompt ignores it, and so would every run.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rows = {name: Row(name) for name in given.cases}
    with tempfile.TemporaryDirectory(prefix="assay-chaos-") as temporary:
        folder = (given.keep or Path(temporary)).absolute()
        shared = (given.template or folder / "template").absolute()
        home = folder / "prefect"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        with prefect_server(home) as prefect:
            prefect.call("work-pool", "create", "assay", "--type", "process")
            prefect.call("--no-prompt", "deploy", "--all")
            for name in given.cases:
                paid = template.make(shared, prefect, CASES[name].subject, given.device)
            for number in range(given.repeats):
                for name in given.cases:
                    started = time.monotonic()
                    place = folder / f"{name}-{number}"
                    shutil.rmtree(place, ignore_errors=True)
                    try:
                        row = play(CASES[name], place, paid, prefect, given.device)
                    except NotHere as reason:
                        rows[name].problems = [str(reason)]
                        continue
                    rows[name].add(row)
                    seconds = time.monotonic() - started
                    print(f"{name} {number + 1}: {'fine' if row.fine else 'FAILED'}, "
                          f"{seconds:.0f} s", *row.problems, sep="\n", flush=True)  # fmt: skip
    print(table(list(rows.values())))
    return 0 if all(row.fine or not row.repeats for row in rows.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
