"""Documents a second that one client process sustains when the server costs nothing.

    python -m tests.benchmarks.client_cost [--documents N] [--repeats N] [--concurrency N]
        [--profile]

Both clients score the same four-choice documents on the instant server, in turn, and read the same
answers. On a machine with few cores the server takes its share of them: documents a second of the
client's processor time leave that out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from statistics import median

from tests.benchmarks.measuring import PARTS, Job, Measured, Target, measure, workers
from tests.benchmarks.scoring import SAMPLE
from tests.instant_server import MAX_MODEL_LEN, MODEL, running
from tests.scoring_shapes import SHAPES

_PART = 8
"""Stock scores one document out of so many."""


def main() -> int:
    given = _arguments()
    costs = [
        "| shape | client | documents/s | ratio | documents/s of CPU | ratio |",
        "|---|---|--:|--:|--:|--:|",
    ]
    shares = [f"| shape | client | {' | '.join(PARTS)} |", f"|---|---|{'--:|' * len(PARTS)}"]
    with running() as url, workers() as executor:
        target = Target(url, MODEL, str(SAMPLE), MAX_MODEL_LEN)
        for shape in given.shapes:
            stock = Job(target, "stock", shape, given.documents // _PART, given.concurrency)
            jobs = (stock, Job(target, "ours", shape, given.documents))
            _measured(executor, jobs)  # the first is slow
            costs += _costs(jobs, [_measured(executor, jobs) for _ in range(given.repeats)])
            if given.profile:
                found = _measured(executor, [replace(job, profile=True) for job in jobs])
                shares += [_shares(job, one) for job, one in zip(jobs, found, strict=True)]
    print("\n".join(costs))
    if given.profile:
        print("\nShares of the client's processor time.\n", *shares, sep="\n")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--shapes", nargs="+", default=["zero-shot", "drawn-shots"],
        choices=[name for name in SHAPES if name != "generation"], metavar="NAME")  # fmt: skip
    add("--documents", type=int, default=800)
    add("--repeats", type=int, default=3)
    add("--concurrency", type=int, default=64, help="of stock")
    add("--profile", action="store_true", help="say where the client's processor time goes")
    return parser.parse_args()


def _measured(executor: Executor, jobs: Sequence[Job]) -> list[Measured]:
    """Measure stock and ours, and stop if they do not read the same answers."""
    stock, ours = (executor.submit(measure, job).result() for job in jobs)
    # Stock has scored only the first ones.
    for one, other in zip(stock.answers, ours.answers, strict=False):
        if one[1] != other[1] or abs(one[0] - other[0]) > 1e-9:
            raise SystemExit(f"the two clients read different answers: {one} and {other}")
    return [stock, ours]


def _costs(jobs: Sequence[Job], pairs: Sequence[Sequence[Measured]]) -> list[str]:
    lines = []
    for place, job in enumerate(jobs):
        cells = [job.shape, job.client]
        for time in ("seconds", "cpu_seconds"):
            rates = [[j.documents / getattr(m, time) for j, m in zip(jobs, pair, strict=True)]
                     for pair in pairs]  # fmt: skip
            cells.append(f"{median(rate[place] for rate in rates):.1f}")
            cells.append(f"{median(rate[1] / rate[0] for rate in rates):.1f}" if place else "")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _shares(job: Job, found: Measured) -> str:
    cells = [job.shape, job.client, *(f"{found.shares.get(part, 0):.0%}" for part in PARTS)]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
