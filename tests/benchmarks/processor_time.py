"""How much processor time each program of a command takes.

    python -m tests.benchmarks.processor_time [--every SECONDS] -- make demo

Looks at every process that the command starts, several times a second, and adds up what each has
computed when it was seen last. Processor time says what a machine has to do, however slow it is
and whoever else computes there. What a process computes after it was seen last is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import psutil

_PROGRAMS = {
    "engine": ("vllm.entrypoints", "VLLM::", "EngineCore"),
    "timing": ("bench",),
    "quantizer": ("infra/quantizers",),
    "Prefect's server": ("prefect.server", "uvicorn"),
    "installer": ("/uv", "uv ", " pip"),
    "orchestrator": ("deployments",),
}
"""Program → words of a command line that tell it; the first that fits counts."""


def program_of(command: str) -> str:
    """Return which program a command line is of; its first word if it is none of them."""
    for name, words in _PROGRAMS.items():
        if any(word in command for word in words):
            return name
    return Path(command.partition(" ")[0]).name


def main() -> int:
    """Run the command, and print what each program computed, in the order of their starts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=float, default=0.1, help="seconds between two looks")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    computed: dict[tuple[int, float], tuple[str, float]] = {}
    began = time.monotonic()
    with subprocess.Popen(given.command) as child:
        root = psutil.Process(child.pid)
        while child.poll() is None:
            with contextlib.suppress(psutil.Error):
                for process in [root, *root.children(recursive=True)]:
                    with contextlib.suppress(psutil.Error):
                        times = process.cpu_times()
                        words = " ".join(process.cmdline()) or process.name()
                        key = process.pid, process.create_time()
                        computed[key] = program_of(words), times.user + times.system
            time.sleep(given.every)
    seconds = time.monotonic() - began
    table: dict[str, list[float]] = defaultdict(list)
    for _, (program, seconds_of_one) in sorted(computed.items(), key=lambda one: one[0][1]):
        table[program].append(seconds_of_one)
    print("\n| program | processes | processor seconds |\n|---|--:|--:|", file=sys.stderr)
    for program, each in table.items():
        listed = " + ".join(f"{one:.0f}" for one in each if one >= 1)
        print(f"| {program} | {len(each)} | {sum(each):.0f} ({listed}) |", file=sys.stderr)
    whole = sum(sum(each) for each in table.values())
    cores = len(os.sched_getaffinity(0))
    print(
        f"| **whole** | | **{whole:.0f}**, in {seconds:.0f} s on {cores} cores |", file=sys.stderr
    )
    return child.returncode


if __name__ == "__main__":
    sys.exit(main())
