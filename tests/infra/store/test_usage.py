from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.store import store_format, usage
from infra.store.content import build_once
from infra.store.runs_identity import identify, identity_of
from infra.store.usage import FOLDER, MARKER, Used, _view, gate_closed, lists, used
from tests.conftest import ROOT

USES = """
import sys, time
from pathlib import Path
from infra.store.usage import for_run, used
store, run, *names = map(Path, sys.argv[1:])
for name in names:
    used(store / name)
if run.name != "none":
    for_run(run)
used(store / "scores" / "last")
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    cache = tmp_path / "cache"
    store_format.begin(cache)
    return cache


def started(store: Path, run: Path | str, *names: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", USES, store, run, *names],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def the_one(store: Path) -> Used:
    [found] = lists(store)
    return found


def test_what_a_process_used_before_and_after_it_had_a_run_is_of_that_run(store: Path) -> None:
    process = started(store, "/somewhere/run-1", "checkpoints/abc", "scores/a/b")
    found = the_one(store)
    assert found.alive and found.here
    assert found.runs == (Path("/somewhere/run-1"),)
    assert found.names == {"checkpoints/abc", "scores/a/b", "scores/last"}
    process.communicate("\n", timeout=60)
    assert not the_one(store).alive


def test_a_list_says_which_folder_of_runs_a_run_is_of(store: Path, tmp_path: Path) -> None:
    identify(tmp_path / "runs")
    process = started(store, tmp_path / "runs" / "run-1")
    process.communicate("\n", timeout=60)
    assert the_one(store).folders == {tmp_path / "runs": identity_of(tmp_path / "runs")}


def test_a_host_of_the_same_name_may_see_other_files(store: Path) -> None:
    started(store, "/somewhere/run-1").communicate("\n", timeout=60)
    found = the_one(store)
    assert found.here
    text = found.path.read_text()
    # A container that has the host's name and network.
    other = subprocess.run(
        ["unshare", "--user", "--mount", sys.executable, "-c",
         "from infra.store import usage; print(usage._view())"],
        cwd=ROOT, text=True, capture_output=True, check=False,
    )  # fmt: skip
    if other.returncode:
        pytest.skip("no user namespaces here")
    found.path.write_text(text.replace(_view(), other.stdout.strip()))
    assert not the_one(store).here


def test_a_container_is_told_from_the_one_before_it(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same name, and the number of its namespace, which was given anew."""
    started(store, "/somewhere/run-1").communicate("\n", timeout=60)
    assert the_one(store).here
    mounts = usage._MOUNTS.read_text()
    [root] = [line for line in mounts.splitlines() if line.split()[4] == "/"]
    layers = " - overlay overlay rw,lowerdir=/l/A:/l/B,upperdir=/layers/7/diff,workdir=/layers/7/w"
    (tmp_path / "mounts").write_text(mounts.replace(root, root.partition(" - ")[0] + layers))
    monkeypatch.setattr(usage, "_MOUNTS", tmp_path / "mounts")
    assert not the_one(store).here


def test_a_process_that_was_killed_is_no_longer_alive(store: Path) -> None:
    process = started(store, "/somewhere/run-1", "checkpoints/abc")
    process.kill()
    process.communicate(timeout=60)
    assert not the_one(store).alive
    assert "checkpoints/abc" in the_one(store).names


def test_a_process_that_worked_for_no_run_leaves_no_list(store: Path) -> None:
    process = started(store, "none", "checkpoints/abc")
    assert the_one(store).alive
    process.communicate("\n", timeout=60)
    assert lists(store) == []


def test_outside_of_a_store_nothing_is_written(tmp_path: Path) -> None:
    used(tmp_path / "checkpoints" / "abc")
    assert list(tmp_path.iterdir()) == []


def test_a_line_waits_as_long_as_something_is_moved_away(store: Path) -> None:
    process = started(store, "/somewhere/run-1")
    waiting = "import sys; from infra.store.usage import used; from pathlib import Path; " \
        "used(Path(sys.argv[1])); print('written', flush=True); sys.stdin.readline()"  # fmt: skip
    with gate_closed(store):
        other = subprocess.Popen(
            [sys.executable, "-c", waiting, store / "triage" / "x"],
            cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        while len(list((store / FOLDER).glob("*.jsonl"))) < 2:
            time.sleep(0.05)  # it has its list, and stands before the gate
        assert all("triage/x" not in one.names for one in lists(store))
    assert other.stdout and other.stdout.readline() == "written\n"
    assert any("triage/x" in one.names for one in lists(store))
    for one in (other, process):
        one.communicate("\n", timeout=60)


def test_a_torn_line_costs_that_line_alone(store: Path) -> None:
    process = started(store, "/somewhere/run-1", "checkpoints/abc")
    process.communicate("\n", timeout=60)
    [path] = (store / FOLDER).glob("*.jsonl")
    path.write_text(path.read_text() + '["used", "che')
    assert "checkpoints/abc" in the_one(store).names


def test_what_is_built_once_is_used(store: Path) -> None:
    build_once(store / "tasks" / "abc", lambda partial: None)
    assert "tasks/abc" in the_one(store).names
    the_one(store).path.unlink()


def test_a_store_has_one_number(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert store_format.require_known(cache) == 0
    store_format.begin(cache)
    assert json.loads((cache / MARKER).read_text()) == {"format": store_format.FORMAT}
    assert store_format.require_known(cache) == store_format.FORMAT


def test_an_earlier_store_stays_as_it_is_and_is_counted_from_now_on(tmp_path: Path) -> None:
    kept = tmp_path / "checkpoints" / "abc"
    kept.mkdir(parents=True)
    (kept / "model.safetensors").write_bytes(b"weights")
    store_format.begin(tmp_path)
    assert (kept / "model.safetensors").read_bytes() == b"weights"
    assert store_format.require_known(tmp_path) == store_format.FORMAT


@pytest.mark.parametrize("text", ['{"format": 99}', '{"format": "1"}', "[]", "{", '{"a": 1}'])
def test_a_store_of_a_later_version_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MARKER).write_text(text)
    with pytest.raises(store_format.StoreError) as refused:
        store_format.begin(tmp_path)
    assert "ASSAY_CACHE" in refused.value.remedy
    assert (tmp_path / MARKER).read_text() == text


def test_a_store_that_cannot_be_written_is_left_to_the_preflight(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store_format.begin(tmp_path / "file" / "cache")
