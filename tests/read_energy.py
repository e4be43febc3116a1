"""What each GPU of this machine takes, by its driver: to be held beside `nvidia-smi`.

    python -m tests.read_energy --seconds 2 [-- COMMAND …]

Prints the counters before and after, joules and watts in between, how long a reading took, and who
computes there by the driver. A command is started after the first reading and ended after the
second; its processes are told from others.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time

import psutil

from infra.machine import nvml
from infra.machine.energy import Meter


def main() -> None:
    """Read, wait, read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("command", nargs="*")
    wanted = parser.parse_args()
    began = time.monotonic()
    before = nvml.ask(30.0)
    started = time.monotonic()
    print(f"driver {before.driver}, error {before.error}, first reading {started - began:.3f} s")
    child = subprocess.Popen(wanted.command) if wanted.command else None
    time.sleep(wanted.seconds)
    reading = time.monotonic()
    after = nvml.ask(30.0)
    ended = time.monotonic()
    ours = {os.getpid(), *(one.pid for one in psutil.Process().children(recursive=True))}
    print(
        f"{reading - started:.3f} s between the readings; the second took {ended - reading:.3f} s"
    )
    for card in after.gpus:
        joules = Meter((card.uuid,), lambda: ours).joules(before, after)
        listed = {one.pid: one.pid in ours for one in card.processes}
        print(f"{card.index} {card.uuid} {card.name}: counter {card.energy_millijoules} mJ")
        if joules is not None:
            print(f"  {joules:.1f} J, {joules / (ended - started):.1f} W")
        else:
            print("  nobody can tell")
        print(f"  computes there → whether it is ours: {listed}")
    if child is not None:
        child.terminate()
        child.wait()


if __name__ == "__main__":
    main()
