"""Whoever is killed leaves whole runs: those that were added, and no part of another."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pandas as pd

from infra.store import history

FROM_BEFORE = Path(__file__).parent / "before_the_database.csv"

WRITER = """
import sys
from pathlib import Path
from infra.store import history

for number in range(1000):
    run = f"{sys.argv[2]}-{number}"
    rows = [{"run_id": run, "task": f"task-{place}", "value": place / 7} for place in range(40)]
    assert history.append(run, rows, Path(sys.argv[1])) is None
    print(run, flush=True)
"""

HALF_WAY = """
import os, signal, sqlite3, sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")  # what is changed goes to the file before its time
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE history SET value = 99")
connection.execute("DELETE FROM history WHERE rowid % 2")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_runs_that_were_added_are_there_whoever_is_killed(tmp_path: Path) -> None:
    shutil.copy(FROM_BEFORE, tmp_path / "history.csv")
    before = len(pd.read_csv(FROM_BEFORE))
    chance = random.Random(7)
    said: set[str] = set()
    for turn in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), f"turn-{turn}"],
            stdout=subprocess.PIPE, text=True,
        ) as writer:  # fmt: skip
            assert writer.stdout is not None
            said.add(writer.stdout.readline().strip())
            time.sleep(chance.uniform(0, 0.3))
            writer.kill()
            said |= {line.strip() for line in writer.stdout}
        assert writer.returncode == -signal.SIGKILL
        for frame in (history.read(tmp_path), pd.read_csv(tmp_path / "history.csv")):
            counts = frame[frame.run_id.str.startswith("turn")].run_id.value_counts()
            assert set(counts) == {40}, "whole runs only"
            assert len(frame) == before + counts.sum()
        assert said <= set(history.read(tmp_path).run_id)
    assert history.take_over(tmp_path) is None
    assert said <= set(pd.read_csv(tmp_path / "history.csv").run_id)


def test_what_was_half_done_is_taken_back_by_the_next_reader(tmp_path: Path) -> None:
    rows = [{"task": f"task-{place}", "value": place / 7} for place in range(5000)]
    assert history.append("run", rows, tmp_path) is None
    before, path = history.read(tmp_path), tmp_path / "history.sqlite"
    whole = path.read_bytes()
    killed = subprocess.run([sys.executable, "-c", HALF_WAY, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() != whole, "the change was in the file"
    assert path.with_name("history.sqlite-journal").exists()
    pd.testing.assert_frame_equal(history.read(tmp_path), before)
    assert path.read_bytes() == whole
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
