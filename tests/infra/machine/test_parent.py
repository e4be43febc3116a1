from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.machine.parent import end_with
from tests.process_marks import lives

CHILD = """
import os, signal, sys, time
from pathlib import Path
from infra.machine.parent import end_with

def on_term(number, frame):
    Path(sys.argv[1]).write_text("terminated")
    sys.exit(0)

signal.signal(signal.SIGTERM, on_term)
assert end_with(os.getppid(), grace_seconds=float(sys.argv[2]))
print(os.getpid(), flush=True)
time.sleep(120)
"""
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], stdin=subprocess.DEVNULL)
time.sleep(120)
"""


@pytest.fixture
def family(tmp_path: Path) -> Iterator[tuple[psutil.Process, psutil.Process, Path]]:
    """A parent, the child that follows it, and what the child writes when it has to end."""
    note = tmp_path / "note"
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD, str(note), "0.1"],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3],
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        yield psutil.Process(parent.pid), child, note
        for process in (parent, child):
            with contextlib.suppress(psutil.Error):
                process.kill()


def test_child_of_a_killed_parent_ends_in_order(
    family: tuple[psutil.Process, psutil.Process, Path],
) -> None:
    parent, child, note = family
    assert lives(child)
    parent.kill()
    psutil.wait_procs([child], timeout=60)
    assert not lives(child)
    assert note.read_text() == "terminated"


def test_process_that_is_gone_cannot_be_followed() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert not end_with(gone.pid)
