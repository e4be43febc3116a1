"""What one machine built, another has; of what is not whole nobody hears."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.store.content import build_once, is_there
from infra.store.settings import Settings
from infra.store.shared import BROUGHT, Place, Shared, place
from infra.store.shared.entries import WHOLE
from tests import object_store
from tests.infra.store.shared.conftest import LEASE_SECONDS, Machine

Two = tuple[Machine, Machine]


def fill(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "a").write_text("one")
    (folder / "b").write_bytes(b"")


def forbidden(folder: Path) -> None:
    raise AssertionError("built again")


def test_what_one_built_the_other_has(machines: Two) -> None:
    one, two = machines
    assert build_once(one.cache / "scores" / "k", fill, behind=one.shared)
    assert not build_once(two.cache / "scores" / "k", forbidden, behind=two.shared)
    assert (two.cache / "scores" / "k" / "sub" / "a").read_text() == "one"
    assert (two.cache / "scores" / "k" / "b").read_bytes() == b""
    assert is_there(two.cache / "scores" / "k", two.shared)
    assert not is_there(two.cache / "scores" / "other", two.shared)
    assert one.said == two.said == []


def test_a_file_is_shared_as_a_folder_is(machines: Two) -> None:
    one, two = machines
    (one.cache / "triage").mkdir(parents=True)
    (one.cache / "triage" / "k.json").write_text("{}")
    one.shared.keep(one.cache / "triage" / "k.json")
    assert is_there(two.cache / "triage" / "k.json", two.shared)
    assert [path.name for path in (two.cache / "triage").iterdir() if path.suffix != ".lock"] == [
        "k.json"
    ]


def test_what_was_here_before_there_was_a_store_is_put_there(machines: Two) -> None:
    one, two = machines
    assert build_once(one.cache / "k", fill)
    assert not is_there(two.cache / "k", two.shared)
    assert not build_once(one.cache / "k", forbidden, behind=one.shared)
    assert is_there(two.cache / "k", two.shared)


def test_half_an_upload_is_never_read_and_is_removed_by_the_next(machines: Two) -> None:
    one, two = machines
    place = one.shared.place
    place.put("entries/k/cut/sub/a", b"half")
    assert not is_there(two.cache / "k", two.shared)
    assert build_once(two.cache / "k", fill, behind=two.shared)
    assert len(place.names("entries/k")) == 2
    assert "cut" not in place.names("entries/k")
    assert is_there(one.cache / "k", one.shared)


def test_of_two_uploads_the_first_counts_and_their_files_are_not_mixed(machines: Two) -> None:
    one, two = machines
    for machine, text in zip(machines, ("first", "second"), strict=True):
        build_once(machine.cache / "k", lambda folder: _write(folder, text))  # noqa: B023
        machine.shared.keep(machine.cache / "k")
    third = Machine(one.shared.place.title, two.cache.parent / "three")
    assert is_there(third.cache / "k", third.shared)
    assert {path.read_text() for path in (third.cache / "k").iterdir()} == {"first"}


def _write(folder: Path, text: str) -> None:
    for name in ("a", "b"):
        (folder / name).write_text(text)


@pytest.mark.parametrize("harm", ["other", "gone", "outside"])
def test_what_was_damaged_there_is_not_used_and_mended(machines: Two, harm: str) -> None:
    one, two = machines
    build_once(one.cache / "k", fill, behind=one.shared)
    place = one.shared.place
    (upload,) = set(place.names("entries/k")) - {WHOLE}
    if harm == "other":
        place.put(f"entries/k/{upload}/sub/a", b"two")
    elif harm == "gone":
        place.remove(f"entries/k/{upload}/sub/a")
    else:
        whole = place.read(f"entries/k/{WHOLE}")
        assert whole is not None
        place.put(f"entries/k/{WHOLE}", whole.replace(b"sub/a", b"../../a"))
    assert not is_there(two.cache / "k", two.shared)
    assert not (two.cache / "k").exists()
    assert len(two.said) == 1
    assert build_once(two.cache / "k", fill, behind=two.shared)
    assert is_there(Machine(place.title, two.cache.parent / "three").cache / "k", None) is False
    third = Machine(place.title, two.cache.parent / "three")
    assert is_there(third.cache / "k", third.shared)


def test_runs_are_brought_by_name(machines: Two, tmp_path: Path) -> None:
    one, two = machines
    for name in ("nightly-1-aa", "other-1-bb"):
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        (run / "report.json").write_text(name)
        one.shared.keep_run(run)
    for _ in range(2):
        assert two.shared.bring_runs("nightly-*-aa", tmp_path / "theirs") == ["nightly-1-aa"]
    found = [path.name for path in (tmp_path / "theirs").iterdir() if path.name[0] != "."]
    assert found == ["nightly-1-aa"]


def test_a_run_that_was_retried_replaces_what_was_there(machines: Two, tmp_path: Path) -> None:
    one, two = machines
    place = one.shared.place
    run = tmp_path / "runs" / "nightly-1-aa"
    run.mkdir(parents=True)
    for text in ("first", "first", "second"):
        before = place.read(f"entries/runs/{run.name}/{WHOLE}")
        (run / "report.json").write_text(text)
        one.shared.keep_run(run)
        same = before == place.read(f"entries/runs/{run.name}/{WHOLE}")
        assert same == (text == "first" and before is not None)
        assert len(place.names(f"entries/runs/{run.name}")) == 2
    assert two.shared.bring_runs("nightly-*", tmp_path / "theirs") == [run.name]
    assert (tmp_path / "theirs" / run.name / "report.json").read_text() == "second"
    assert (tmp_path / "theirs" / run.name / BROUGHT).is_file()
    assert two.shared.bring_runs("nightly-*", tmp_path / "runs") == [run.name]
    assert not (run / BROUGHT).exists()  # it was here


def test_a_run_that_is_retried_after_it_was_brought_is_brought_anew(
    machines: Two, tmp_path: Path
) -> None:
    one, two = machines
    run, theirs = tmp_path / "runs" / "nightly-1-aa", tmp_path / "theirs"
    run.mkdir(parents=True)
    (run / "of-the-first-try").touch()

    def leave(text: str) -> None:
        (run / "report.json").write_text(text)
        one.shared.keep_run(run)

    def brought() -> str:
        assert two.shared.bring_runs("nightly-*", theirs) == [run.name]
        assert [path.name for path in theirs.iterdir() if path.name != ".shared.lock"] == [run.name]
        return (theirs / run.name / "report.json").read_text()

    leave("first")
    assert brought() == "first"
    folder = (theirs / run.name).stat().st_ino
    assert brought() == "first"
    assert (theirs / run.name).stat().st_ino == folder
    (run / "of-the-first-try").unlink()
    leave("second")
    assert brought() == "second"
    assert not (theirs / run.name / "of-the-first-try").exists()

    # One that is damaged there costs no copy that is here.
    leave("third")
    (upload,) = (
        name for name in one.shared.place.names(f"entries/runs/{run.name}") if name != WHOLE
    )
    one.shared.place.put(f"entries/runs/{run.name}/{upload}/report.json", b"damaged")
    assert brought() == "second"
    assert len(two.said) == 1

    # What goes on here is this machine's.
    (theirs / run.name / BROUGHT).unlink()
    leave("fourth")
    assert brought() == "second"


def test_what_is_replaced_while_it_is_brought_is_no_damage(
    machines: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = machines
    run = tmp_path / "runs" / "nightly-1-aa"
    run.mkdir(parents=True)
    (run / "report.json").write_text("first")
    one.shared.keep_run(run)
    download = Place.download

    def replaced(self: Place, name: str, file: Path) -> str:
        monkeypatch.setattr(Place, "download", download)
        (run / "report.json").write_text("second")
        one.shared.keep_run(run)
        return self.download(name, file)

    monkeypatch.setattr(Place, "download", replaced)
    assert two.shared.bring_runs("nightly-*", tmp_path / "theirs") == [run.name]
    assert (tmp_path / "theirs" / run.name / "report.json").read_text() == "second"
    assert two.said == []


def test_where_the_store_is_away_a_run_goes_on_and_says_so_once(tmp_path: Path) -> None:
    with object_store.serving() as store:
        one = Machine(store.url, tmp_path / "one")
        store.away = True
        assert build_once(one.cache / "k", fill, behind=one.shared)
        assert not is_there(one.cache / "other", one.shared)
        assert len(one.said) == 1
        assert "503" in one.said[0]
        store.away = False
        assert not build_once(one.cache / "k", forbidden, behind=one.shared)  # made up for
        assert any(name.endswith(WHOLE) for name in store.objects)


_WORKER = """
import sys, time
from pathlib import Path
import tests.object_store
from infra.store.content import build_once
from infra.store.settings import Settings
from infra.store.shared import Shared, place
url, home, lease, held = sys.argv[1:]
def build(folder):
    (folder / "begun").write_text("x")
    print("building", flush=True)
    while Path(held).exists():
        time.sleep(0.05)
    (folder / "done").write_text("x")
settings = Settings(cache=Path(home), shared=url, shared_lease_seconds=float(lease))
shared = Shared(place(url), settings, lambda text: print(text, flush=True))
wait = lambda: print("waiting", flush=True)
built = build_once(settings.cache / "k", build, behind=shared, on_wait=wait)
print("built" if built else "found", flush=True)
"""


@contextmanager
def worker(url: str, home: Path, *, held: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Let a process build; it ends when a file called as its home and `.held` is gone."""
    if held:
        home.with_suffix(".held").touch()
    root = Path(__file__).parents[4]
    command = [sys.executable, "-c", _WORKER, url, str(home), str(LEASE_SECONDS)]
    with subprocess.Popen(
        [*command, str(home.with_suffix(".held"))],
        cwd=root, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_machine_waits_for_the_other_however_long_it_builds(objects: str, tmp_path: Path) -> None:
    with worker(objects, tmp_path / "one", held=True) as one:
        assert line(one) == "building"
        with worker(objects, tmp_path / "two") as two:
            assert line(two) == "waiting"
            time.sleep(1.5 * LEASE_SECONDS)
            (tmp_path / "one.held").unlink()
            assert (line(one), line(two)) == ("built", "found")
    assert (tmp_path / "two" / "k" / "done").is_file()


def test_what_a_killed_machine_was_building_another_builds(url: str, tmp_path: Path) -> None:
    with worker(url, tmp_path / "one", held=True) as one:
        assert line(one) == "building"
        with worker(url, tmp_path / "two") as two:
            assert line(two) == "waiting"
            one.send_signal(signal.SIGKILL)
            assert (line(two), line(two)) == ("building", "built")
    settings = Settings(cache=tmp_path / "three", shared=url)
    assert is_there(settings.cache / "k", Shared(place(url), settings))
    assert not (tmp_path / "one" / "k").exists()


def test_one_that_was_only_stopped_hears_of_it_and_changes_nothing(
    objects: str, tmp_path: Path
) -> None:
    with worker(objects, tmp_path / "one", held=True) as one:
        assert line(one) == "building"
        one.send_signal(signal.SIGSTOP)
        with worker(objects, tmp_path / "two") as two:
            assert (line(two), line(two), line(two)) == ("waiting", "building", "built")
        whole = place(objects).read(f"entries/k/{WHOLE}")
        one.send_signal(signal.SIGCONT)
        assert line(one).startswith("another machine took k over")
        (tmp_path / "one.held").unlink()
        assert line(one) == "built"
    assert place(objects).read(f"entries/k/{WHOLE}") == whole
