"""What does a slow Prefect API cost a run, and what one that is gone for a while?

    python -m tests.api_delay [--pairs 1] [--seconds 0.2] [--gone 60] [--only delay|gone] [--small]

A real Prefect server stands behind `tests/api_proxy.py`, and the demo is run through it with
nothing kept but the environments: in turns without and with each call delayed, then once with all
connections refused for a while from the moment in which the baseline is evaluated. Prints the ratio
of the wall times, which calls there were, and whether verdict and scores are the same as those of a
run that nothing disturbed. With `--only gone` there are as many of these as pairs, one at least.

`--small` takes an engine that answers at once: a run that is little but calls, for how many seconds
a delay costs. The engine waits until the API is gone, so all the rest of the run is without it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any

from tests import small_matrix
from tests.api_proxy import ApiProxy, api_proxy
from tests.conftest import shared_cache
from tests.prefect_server import ROOT, Prefect, prefect_server


@dataclass
class Run:
    """One run of the demo, with a cache and a folder of its own."""

    folder: Path
    prefect: Prefect
    proxy: ApiProxy
    small: bool = False
    seconds: float = 0.0
    """How long it took."""

    calls: Counter[str] = field(default_factory=Counter)
    """Of the Prefect API."""

    state: str = ""
    """In which its flow run ended."""

    def carry_out(self, meanwhile: Callable[[Run], None] = lambda _: None) -> Run:
        self.folder.mkdir()
        recipe = "sample"
        if self.small:
            recipe = str(self.folder / "spec.json")
            Path(recipe).write_text(small_matrix.make(self.folder).cells[0].run.model_dump_json())
        env = {
            **self.prefect.env,
            "PREFECT_API_URL": self.proxy.url,
            "ASSAY_CACHE": str(shared_cache(self.folder)),
            "ASSAY_RUNS": str(self.folder / "runs"),
            "ASSAY_LEASES": os.environ.get("ASSAY_LEASES", str(self.folder / "leases")),
        }
        self.proxy.calls.clear()
        began = time.monotonic()
        with (self.folder / "log").open("wb") as log:
            running = subprocess.Popen(
                [sys.executable, "-m", "deployments", "run", recipe],
                cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
            try:
                meanwhile(self)
                code = running.wait()
            finally:
                running.kill()
        self.seconds = time.monotonic() - began
        assert code == 0, (self.folder / "log").read_text()[-6000:]
        self.calls = self.proxy.calls.copy()
        flow_runs = self.prefect.read("flow_runs/filter", sort="START_TIME_DESC")
        self.state = flow_runs[0]["state_name"]
        return self

    @property
    def report(self) -> dict[str, Any]:
        (file,) = (self.folder / "runs").glob("*/report.json")
        return dict(json.loads(file.read_text()))

    @property
    def verdict(self) -> tuple[str, dict[str, float]]:
        """The verdict, and the score of each arm and task."""
        report = self.report
        scores = {
            f"{arm} {task}: {metric}": value["value"]
            for arm, result in report["arms"].items()
            for task, found in result["tasks"].items()
            for metric, value in found["metrics"].items()
        }
        (judged,) = report["judged"].values()
        return judged["verdict"]["status"], scores

    @property
    def begun(self) -> bool:
        """Whether the baseline is being evaluated."""
        return any((self.folder / "runs").glob("*/checkpoint-baseline.json"))

    @property
    def held(self) -> Path:
        """As long as it is there, the engine of a small run does not start."""
        return self.folder / "python.held"


def table(runs: list[tuple[float, Run]]) -> str:
    """Return what each run took, as Markdown."""
    lines = ["| delay of a call | wall time | calls | ended as |", "|--:|--:|--:|---|"]
    lines += [
        f"| {delay * 1000:.0f} ms | {run.seconds:.1f} s | {run.calls.total()} | {run.state} |"
        for delay, run in runs
    ]
    return "\n".join(lines)


def _away(seconds: float) -> Callable[[Run], None]:
    def meanwhile(run: Run) -> None:
        run.held.touch()
        deadline = time.monotonic() + 900
        while not run.begun:
            assert time.monotonic() < deadline, (run.folder / "log").read_text()[-6000:]
            time.sleep(0.2)
        run.proxy.leave()
        run.held.unlink()
        time.sleep(seconds)
        run.proxy.come_back()

    return meanwhile


def main() -> int:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1, help="runs without and with the delay")
    parser.add_argument("--seconds", type=float, default=0.2, help="by which a call is delayed")
    parser.add_argument("--gone", type=float, default=60, help="seconds without the API")
    parser.add_argument("--small", action="store_true", help="an engine that answers at once")
    parser.add_argument("--only", choices=("delay", "gone"), help="one of the two")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="assay-api-")))
        (folder / "prefect").mkdir()
        prefect = stack.enter_context(prefect_server(folder / "prefect"))
        proxy = stack.enter_context(api_proxy(prefect.url))
        runs: list[tuple[float, Run]] = []
        delays = (0.0,) if given.only == "gone" else (0.0, given.seconds)
        for number, delay in enumerate(delays * max(given.pairs, 1)):
            proxy.seconds = delay
            run = Run(folder / str(number), prefect, proxy, given.small).carry_out()
            runs.append((delay, run))
            print(table(runs[-1:]), flush=True)
        if given.only != "gone":
            print("", table(runs), "", *map(str, runs[-1][1].calls.most_common()), sep="\n")
            ratios = [
                late.seconds / at_once.seconds
                for (_, at_once), (_, late) in zip(runs[::2], runs[1::2], strict=True)
            ]
            print(f"wall time with the delay: {geometric_mean(ratios):.3f} of that without")
            late = [run for delay, run in runs if delay]
            print(
                f"calls that a run makes, {given.seconds:g} s each, if it waited for all of them: "
                f"{fmean(run.calls.total() for run in late) * given.seconds:.1f} s"
            )
        if given.only != "delay":
            proxy.seconds = 0.0
            gone = Run(folder / "gone", prefect, proxy, given.small).carry_out(_away(given.gone))
            print(f"without the API for {given.gone:g} s:", table([(0.0, gone)]), sep="\n")
            undisturbed = runs[0][1]
            print("undisturbed:", undisturbed.verdict)
            print("without the API:", gone.verdict)
            same = gone.verdict == undisturbed.verdict
            print("same" if same else "other")
            return 0 if same else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
