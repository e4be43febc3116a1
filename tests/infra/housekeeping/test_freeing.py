from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from infra.contracts.errors import StoreError
from infra.contracts.progress import Silent
from infra.housekeeping import freeing
from infra.housekeeping.disk import remove
from infra.housekeeping.freeing import free
from infra.store.content import build_once
from infra.store.usage import FOLDER
from tests.conftest import ROOT
from tests.infra.housekeeping.made_store import Made, aged, disk_use, reasons

FOR_A_RUN = """
import sys
from pathlib import Path
from infra.store.usage import for_run, used
used(Path(sys.argv[1]))
for_run(Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def made(tmp_path: Path) -> Made:
    made = Made(tmp_path)
    kept, lost = made.run(days=1), made.run(days=99)
    for name in ("scores/kept", "scores/lost", "checkpoints/kept", "checkpoints/lost"):
        made.entry(name, days=99)
    for end in ("", "-wal", "-shm"):
        made.file(f"answers/lost.sqlite{end}", days=99)
    os.link(made.cache / "scores/kept/content", made.cache / "scores/lost/shared")
    aged(made.cache / "scores" / "lost", 99)
    made.entry("checkpoints/.never.partial", days=99)
    made.used(kept, "scores/kept", "checkpoints/kept")
    made.used(lost, "scores/lost", "checkpoints/lost", "answers/lost.sqlite", days=99)
    return made


def names(made: Made) -> set[str]:
    there = [path for kind in ("scores", "checkpoints", "answers")
             for path in (made.cache / kind).iterdir()]  # fmt: skip
    return {path.name for path in [*there, *made.runs.glob("[!.]*")]}


def test_it_frees_what_was_said_to_the_byte(made: Made) -> None:
    plan = made.plan(keep_runs=1)
    kept = {item.path.name for item in plan.items if item.kind == "runs" and not item.free}
    before = disk_use(made.cache, made.runs)
    freed = free(plan, made.settings, Silent())
    (made.cache / FOLDER / ".gc.lock").unlink()
    assert freed.stayed == {}
    assert freed.bytes == plan.bytes == before - disk_use(made.cache, made.runs)
    assert plan.bytes > 0
    assert names(made) == {"kept", *kept}
    assert made.plan(keep_runs=1).freed == []


def test_what_an_earlier_version_listed_goes_with_its_run_though_others_write_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(tmp_path)
    lost = made.run(days=99)
    made.entry("scores/lost", days=99)
    made.used(lost, "scores/lost", folder="", view="", days=99)

    def removed(path: Path) -> int:
        made.used(made.runs / "another", "scores/other")  # so that all is looked at again
        return remove(path)

    monkeypatch.setattr(freeing, "remove", removed)
    freed = free(made.plan(keep_runs=0), made.settings, Silent())
    assert freed.stayed == {}
    assert not (made.cache / "scores" / "lost").exists()


def test_a_run_that_began_since_keeps_what_it_uses(made: Made) -> None:
    plan = made.plan(keep_runs=1)
    lost = made.cache / "checkpoints" / "lost"
    process = subprocess.Popen(
        [sys.executable, "-c", FOR_A_RUN, lost, made.runs / "sample-20261129-120000-0123abcd"],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout and process.stdout.readline() == "ready\n"
    freed = free(plan, made.settings, Silent())
    process.communicate("\n", timeout=60)
    assert freed.stayed == {lost: "in use now"}
    assert (lost / "content").is_file() and not (made.cache / "scores" / "lost").exists()


def test_a_run_that_is_tried_again_since_stays_with_what_it_used(made: Made) -> None:
    tried = made.run(days=99, finished=False)
    list_of_it = made.used(tried, "scores/lost", days=99)
    plan = made.plan(keep_runs=1)
    assert {tried.name, "lost"} <= set(reasons(plan, free=True))
    process = subprocess.Popen(
        [sys.executable, "-c", FOR_A_RUN, made.cache / "triage" / "x", tried],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout and process.stdout.readline() == "ready\n"
    freed = free(plan, made.settings, Silent())
    process.communicate("\n", timeout=60)
    assert freed.stayed[tried] == "in use now"
    assert freed.stayed[made.cache / "scores" / "lost"] == "a kept run used it"
    assert freed.stayed[list_of_it] == "needed by now"
    assert (tried / "spec.json").is_file()


def test_what_somebody_builds_or_mends_now_stays(made: Made) -> None:
    plan = made.plan(keep_runs=1)
    with FileLock(made.cache / "checkpoints" / ".never.lock"):
        freed = free(plan, made.settings, Silent())
    assert freed.stayed == {made.cache / "checkpoints/.never.partial": "somebody works on it"}
    assert (made.cache / "checkpoints/.never.partial").is_dir()


def test_nobody_can_write_down_a_use_while_something_is_moved_away(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = []
    rename = Path.rename

    def watched(path: Path, target: Path) -> Path:
        with (made.cache / FOLDER / ".gate").open("r+b") as gate, pytest.raises(BlockingIOError):
            fcntl.flock(gate, fcntl.LOCK_SH | fcntl.LOCK_NB)
        moved.append(path)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", watched)
    free(made.plan(keep_runs=1), made.settings, Silent())
    assert made.cache / "scores" / "lost" in moved


def test_what_is_freed_is_made_anew_by_who_wants_it_next(made: Made) -> None:
    free(made.plan(keep_runs=1), made.settings, Silent())
    final = made.cache / "checkpoints" / "lost"
    assert build_once(final, lambda partial: (partial / "new").touch())
    assert [path.name for path in final.iterdir()] == ["new"]


@pytest.mark.parametrize("after", range(1, 12))
def test_interrupted_anywhere_nothing_half_deleted_is_taken_for_whole(
    made: Made, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    whole = {
        path: sorted(inner.name for inner in path.rglob("*"))
        for folder in (made.cache / "scores", made.cache / "checkpoints", made.runs)
        for path in folder.iterdir()
    }
    stop_after(after, monkeypatch)
    plan = made.plan(keep_runs=1)
    with pytest.raises(KeyboardInterrupt):
        free(plan, made.settings, Silent())
    for path, inner in whole.items():
        assert not path.exists() or sorted(one.name for one in path.rglob("*")) == inner
    monkeypatch.undo()
    # What was left has no name that anybody looks for, and goes with the next call.
    again = made.plan(keep_runs=1)
    assert free(again, made.settings, Silent()).bytes == again.bytes
    assert not any(name.endswith(".gone") for name in names(made))
    assert "lost" not in names(made) and "kept" in names(made)


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt before the given number of files, folders and names was removed or changed."""
    left = [steps]

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object) -> object:
            left[0] -= 1
            if left[0] <= 0:
                raise KeyboardInterrupt
            return real(*arguments)

        return step

    for name in ("unlink", "rmdir", "rename"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))


def test_links_are_neither_followed_nor_removed(made: Made, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_text("mine")
    (made.cache / "scores" / "linked").symlink_to(mine)
    (made.cache / "scores" / "lost" / "inner").symlink_to(mine)
    aged(made.cache / "scores" / "lost", 99)
    free(made.plan(keep_runs=1, keep_days=0), made.settings, Silent())
    assert (mine / "file").read_text() == "mine"
    assert (made.cache / "scores" / "linked").is_symlink()
    assert not (made.cache / "scores" / "lost").exists()


def test_what_became_a_link_since_stays(made: Made, tmp_path: Path) -> None:
    plan = made.plan(keep_runs=1)
    lost = made.cache / "scores" / "lost"
    shutil.move(lost, tmp_path / "moved")
    lost.symlink_to(tmp_path / "moved")
    assert free(plan, made.settings, Silent()).stayed == {lost: "gone meanwhile"}
    assert (tmp_path / "moved" / "content").is_file()


def test_only_one_cleans_up_at_a_time(made: Made) -> None:
    plan = made.plan(keep_runs=1)
    with FileLock(made.cache / FOLDER / ".gc.lock"), pytest.raises(StoreError):
        free(plan, made.settings, Silent())
    assert "lost" in names(made)


def test_a_lease_of_a_run_that_is_gone_is_swept(made: Made) -> None:
    record = {
        "mark": "0a", "what": "run x", "started": "2026-11-01T00:00:00Z", "boot": "another",
        "namespace": 1, "driver": {"pid": 1, "started": 1.0}, "slots": ["cpu-0"],
    }  # fmt: skip
    path = made.settings.leases / "0a.json"
    path.write_text(json.dumps(record))
    plan = made.plan(keep_runs=9, keep_days=999)
    assert [item.path for item in plan.freed] == [path]
    freed = free(plan, made.settings, Silent())
    assert freed.bytes == plan.bytes > 0 and not path.exists()


def test_the_last_name_of_a_file_gives_its_room_back(made: Made) -> None:
    """What was said is true although names go one after the other."""
    assert freeing.remove is remove
    one, two = made.cache / "scores" / "lost", made.cache / "checkpoints" / "lost"
    os.link(one / "content", two / "same")
    aged(two, 99)
    plan = made.plan(keep_runs=1)
    before = disk_use(made.cache, made.runs)
    assert free(plan, made.settings, Silent()).bytes == plan.bytes
    (made.cache / FOLDER / ".gc.lock").unlink()
    assert before - disk_use(made.cache, made.runs) == plan.bytes
