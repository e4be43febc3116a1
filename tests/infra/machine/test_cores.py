"""What is started computes on the cores that it was given."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from infra.machine import cores
from infra.machine.cores import confined, parted

SHOW = "import os; print(*sorted(os.sched_getaffinity(0)))"


def test_parts_are_equal_and_have_no_core_in_common() -> None:
    there = os.sched_getaffinity(0)
    parts = parted(2)
    assert len(parts) == 2
    if len(there) > 1:
        assert len(parts[0]) == len(parts[1]) == len(there) // 2
        assert not parts[0] & parts[1]
    assert parts[0] | parts[1] <= there
    assert parted(len(there) + 1) == [there] * (len(there) + 1)


def test_a_child_has_them_and_we_have_all_again() -> None:
    before = os.sched_getaffinity(0)
    one = {min(before)}
    with confined(one):
        shown = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True,
                               check=True)  # fmt: skip
    assert shown.stdout.split() == [str(min(one))]
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(("there", "spare"), [(2, False), (3, False), (4, True), (64, True)])
def test_few_cores_are_all_needed(monkeypatch: pytest.MonkeyPatch, there: int, spare: bool) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(there)))
    assert cores.to_spare() is spare
