"""What is started computes on the cores that it was given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.machine import cores
from infra.machine.cores import confined, parted
from tests.conftest import ROOT

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


def groups(folder: Path, monkeypatch: pytest.MonkeyPatch, own: str, limits: dict[str, str]) -> None:
    """Lay control groups out as the kernel does."""
    (folder / "own").write_text(own)
    for name, text in limits.items():
        file = folder / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    monkeypatch.setattr(cores, "_GROUPS", folder / "groups")
    monkeypatch.setattr(cores, "_OWN_GROUPS", folder / "own")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))


OLD = "cpu/docker/0a/cpu.cfs_{}_us"


@pytest.mark.parametrize(
    ("own", "limits", "quota", "count"),
    [
        ("0::/\n", {"cpu.max": "200000 100000"}, 2.0, 2),
        ("0::/\n", {"cpu.max": "max 100000"}, None, 64),
        ("0::/\n", {"cpu.max": "50000 100000"}, 0.5, 1),
        ("0::/\n", {"cpu.max": "9900000 100000"}, 99.0, 64),
        ("0::/a/b\n", {"a/cpu.max": "350000 100000", "a/b/cpu.max": "max 100000"}, 3.5, 3),
        ("1:cpu,cpuacct:/docker/0a\n0::/\n",
         {OLD.format("quota"): "400000", OLD.format("period"): "100000"}, 4.0, 4),
        # The container's own group is the top that it sees.
        ("1:cpu,cpuacct:/docker/0a\n2:memory:/docker/0a\n",
         {"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "50000"}, 3.0, 3),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None, 64),
        ("1:memory:/\n", {"cpu/cpu.cfs_quota_us": "100000"}, None, 64),
        ("", {}, None, 64),
    ],
)  # fmt: skip
def test_what_a_container_may_take_is_its_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    own: str, limits: dict[str, str], quota: float | None, count: int,
) -> None:  # fmt: skip
    groups(tmp_path, monkeypatch, own, limits)
    assert (cores.quota(), cores.count()) == (quota, count)
    assert cores.to_spare() is (count >= 4)


@pytest.mark.parametrize("version", [1, 2])
def test_a_real_group_with_a_quota_is_seen(version: int) -> None:
    top = Path("/sys/fs/cgroup") / ("cpu" if version == 1 else "")
    group = top / f"assay-{os.getpid()}"
    limits = {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "150000"}
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no control group can be made here")
    try:
        for name, text in (limits if version == 1 else {"cpu.max": "150000 100000"}).items():
            if not (group / name).is_file():
                pytest.skip(f"control groups of version {version} limit no processor here")
            (group / name).write_text(text)
        code = f"from pathlib import Path; import os; from infra.machine import cores; " \
            f"Path({str(group)!r}, 'cgroup.procs').write_text(str(os.getpid())); " \
            "print(cores.quota(), cores.count())"  # fmt: skip
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                              check=True, cwd=ROOT)  # fmt: skip
        assert said.stdout.split() == ["1.5", "1"]
    finally:
        group.rmdir()


@pytest.mark.parametrize(("there", "spare"), [(2, False), (3, False), (4, True), (64, True)])
def test_few_cores_are_all_needed(monkeypatch: pytest.MonkeyPatch, there: int, spare: bool) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(there)))
    assert cores.to_spare() is spare
