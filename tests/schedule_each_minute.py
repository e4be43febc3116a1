"""What a schedule does: each minute, and sooner than a run takes, under each collision strategy.

    python -m tests.schedule_each_minute [--minutes 3]

A real Prefect server and worker carry out real runs on the real vLLM: the sample beside a
ready-made checkpoint of it. Three deployments: `minute`, by a cron schedule; `skip` and `queue`,
due every five seconds, sooner than a run takes, with a limit of one run: there the next one is
cancelled or waits. Counts what was due, what ran at the same time, and the rows of the history:
those of the runs that ended.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from deployments.families import sample_family
from infra.contracts.specs import FidelitySpec, RunSpec, SpeedSpec, TaskSpec, VerdictSpec
from infra.store import history
from tests.conftest import shared_cache
from tests.prefect_server import PREFECT, ROOT, Prefect, prefect_server

STRATEGIES = {"minute": None, "skip": "CANCEL_NEW", "queue": "ENQUEUE"}
_DUE = 5
_EVERY_SECONDS = 5
_FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def small_run() -> RunSpec:
    """Return the sample beside a ready-made checkpoint, on a few rows."""
    (whole,) = [cell.run for cell in sample_family().cells if cell.name == "sample/ready-made"]
    tasks = (TaskSpec(name="gsm8k", num_fewshot=0, limit=12, max_gen_toks=64),)
    return whole.model_copy(
        update={
            "evaluation": whole.evaluation.model_copy(update={"tasks": tasks}),
            "fidelity": FidelitySpec(documents=4, top_k=2),
            "speed": SpeedSpec(enabled=False),
            "verdict": VerdictSpec(margin_points=50, task_margin_points=50, gate="none"),
        }
    )


def declared(folder: Path) -> dict[str, Any]:
    """Return the deployments: a small run, with schedules."""
    project = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    (whole,) = [one for one in project["deployments"] if one["name"] == "candidates"]
    spec = small_run().model_dump(mode="json", exclude_none=True)
    begin = datetime.now(UTC) + timedelta(seconds=90)  # by then they are registered
    rule = f"RRULE:FREQ=SECONDLY;INTERVAL={_EVERY_SECONDS};COUNT={_DUE}"
    rule = f"DTSTART:{begin:%Y%m%dT%H%M%SZ}\n{rule}"
    deployments = []
    for name, strategy in STRATEGIES.items():
        one = {
            **whole,
            "name": name,
            "parameters": {**spec, "results": {"folder": str(folder / "runs"), "label": name}},
            "schedules": [{"rrule": rule} if strategy else {"cron": "* * * * *"}],
        }
        if strategy:
            one["concurrency_limit"] = {"limit": 1, "collision_strategy": strategy}
        deployments.append(one)
    return {**project, "deployments": deployments}


@contextmanager
def worker(prefect: Prefect) -> Iterator[None]:
    """Run a worker as long as the block."""
    with (prefect.home / "worker.log").open("wb") as log:
        running = subprocess.Popen(
            [str(PREFECT), "worker", "start", "--pool", "assay"],
            cwd=ROOT, env=prefect.env, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield
    finally:
        running.send_signal(signal.SIGINT)
        try:
            running.wait(60)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait(60)


class Runs:
    """The runs of one deployment, as they are looked at again and again."""

    def __init__(self, prefect: Prefect, name: str) -> None:
        self.name = name
        self.waited: set[str] = set()
        """Those that were seen to wait for the one before them."""
        self.at_once = 0
        """How many were seen to run at a time at most."""
        self._prefect = prefect
        self._only = {"name": {"any_": [name]}}

    def look(self) -> list[dict[str, Any]]:
        """Return those that are due, in order."""
        found = self._prefect.read("flow_runs/filter", deployments=self._only)
        self.waited |= {
            one["id"] for one in found if one["state_name"] == "AwaitingConcurrencySlot"
        }
        self.at_once = max(self.at_once, sum(one["state_type"] == "RUNNING" for one in found))
        now = datetime.now(UTC)
        due = [
            one for one in found
            if one["id"] in self.waited or datetime.fromisoformat(one["expected_start_time"]) <= now
        ]  # fmt: skip
        return sorted(due, key=lambda one: str(one["expected_start_time"]))

    def end(self) -> None:
        """End the schedule."""
        (deployment,) = self._prefect.read("deployments/filter", deployments=self._only)
        self._prefect.read(f"deployments/{deployment['id']}/pause_deployment")

    @property
    def ended(self) -> bool:
        return all(one["state_type"] in _FINAL for one in self.look())


def main() -> int:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="assay-schedules-") as name:
        folder = Path(name)
        (home := folder / "prefect").mkdir()
        with prefect_server(home) as prefect:
            prefect.env["ASSAY_CACHE"] = str(shared_cache(folder))
            prefect.env["ASSAY_LEASES"] = str(folder / "leases")
            prefect.call("work-pool", "create", "assay", "--type", "process")
            (home / "deployments.yaml").write_text(json.dumps(declared(folder)))
            file = ("--prefect-file", str(home / "deployments.yaml"))
            with worker(prefect):
                prefect.call("--no-prompt", "deploy", "--all", *file)
                seen = [Runs(prefect, name) for name in STRATEGIES]
                minute, *others = seen
                while len(minute.look()) < given.minutes or any(
                    len(one.look()) < _DUE for one in others
                ):
                    time.sleep(1)
                minute.end()
                while not all(one.ended for one in seen):
                    time.sleep(1)
            return show(seen, [one.look() for one in seen], folder)


def show(seen: list[Runs], found: list[list[dict[str, Any]]], folder: Path) -> int:
    """Print what was seen, and return 0 if it is as declared."""
    rows = Counter(history.read(folder / "runs")["label"])
    wrong = []
    print("| schedule | at a collision | due | ended as | at a time | waited | rows |")
    print("|---|---|--:|---|--:|--:|--:|")
    for runs, due in zip(seen, found, strict=True):
        states = Counter(str(one["state_name"]) for one in due)
        completed = sum(one["state_type"] == "COMPLETED" for one in due)
        said = ", ".join(f"{count} {state}" for state, count in states.items())
        strategy = STRATEGIES[runs.name]
        print(
            f"| {runs.name} | {strategy or 'both run'} | {len(due)} | {said} | {runs.at_once} "
            f"| {len(runs.waited)} | {rows[runs.name]} |"
        )
        each = rows[runs.name] / completed if completed else 0
        as_declared = {
            None: completed == len(due),
            "CANCEL_NEW": runs.at_once == 1 and 0 < states["Cancelled"] == len(due) - completed,
            "ENQUEUE": runs.at_once == 1 and runs.waited and completed == len(due) == _DUE,
        }[strategy]
        wrong += [runs.name] if not as_declared else []
        wrong += [f"rows of {runs.name}"] if each != rows["minute"] / len(found[0]) else []
    print(f"not as declared: {', '.join(wrong)}" if wrong else "all as declared")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
