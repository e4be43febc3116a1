"""What is remembered of files: as long as nobody wrote to them, and by nothing less than that."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from infra.contracts.progress import Silent
from infra.machine import cores
from infra.models.file_digests import cached_digests, digests_below, hash_files
from infra.store.content import digest_folder

_SIZE = 9_000_000


class Counter(Silent):
    """Counts digests that were really computed."""

    def __init__(self) -> None:
        self.updates = 0

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        self.updates += 1


def digest(folder: Path) -> tuple[str, bool]:
    """Return the digest of the file of these tests, and whether it was computed."""
    kept, heard = folder.with_name("kept.json"), Counter()
    (found,) = cached_digests(folder, ["file"], kept, heard)
    return found.sha256, heard.updates > 0


def sha(letter: bytes) -> str:
    return hashlib.sha256(letter * _SIZE).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(b"a" * _SIZE)
    return folder


def test_what_was_just_written_is_read_again(folder: Path) -> None:
    assert digest(folder) == (sha(b"a"), True)
    assert digest(folder) == (sha(b"a"), True)


def test_a_time_that_was_set_back_hides_nothing(folder: Path) -> None:
    time.sleep(2.1)
    assert digest(folder) == (sha(b"a"), True)
    assert digest(folder) == (sha(b"a"), False)
    stat = (folder / "file").stat()
    (folder / "file").write_bytes(b"b" * _SIZE)
    os.utime(folder / "file", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digest(folder) == (sha(b"b"), True)


def test_another_file_of_the_same_size_and_time_is_another(folder: Path) -> None:
    other = folder.with_name("other")
    other.write_bytes(b"b" * _SIZE)
    stat = (folder / "file").stat()
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    time.sleep(2.1)
    assert digest(folder) == (sha(b"a"), True)
    other.replace(folder / "file")
    assert digest(folder) == (sha(b"b"), True)


@pytest.mark.parametrize("damage", ["[]", "{", "null", '{"file": 1}', '{"file": [1, 2, "x"]}'])
def test_a_damaged_memory_is_none(folder: Path, damage: str) -> None:
    folder.with_name("kept.json").write_text(damage)
    assert digest(folder) == (sha(b"a"), True)


def many(folder: Path, files: int, size: int) -> list[str]:
    """Write files that differ; return their names."""
    names = [f"part-{number}" for number in range(files)]
    for name in names:
        (folder / name).write_bytes(name[-1].encode() * size)
    return names


def test_files_that_are_read_at_a_time_keep_their_digests_apart(folder: Path) -> None:
    names = many(folder, 12, _SIZE)
    found = hash_files(folder, names, Silent(), git={names[3]})
    assert list(found) == names
    contents = {name: (folder / name).read_bytes() for name in names}
    assert {name: sha for name, (sha, _) in found.items()} == {
        name: hashlib.sha256(content).hexdigest() for name, content in contents.items()
    }
    blob = hashlib.sha1(b"blob %d\0" % _SIZE + contents[names[3]]).hexdigest()
    assert [blob for _, blob in found.values() if blob] == [blob]


def test_what_was_read_of_all_files_only_grows(folder: Path) -> None:
    seen: list[int] = []

    class Heard(Silent):
        def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
            seen.append(done)

    hash_files(folder, many(folder, 4, 3 * _SIZE), Heard(), git=())
    assert seen == sorted(seen)
    assert seen[-1] == 4 * 3 * _SIZE // 1_000_000


@pytest.mark.parametrize("share", [1.0, 2.0])
def test_a_container_reads_as_many_at_a_time_as_it_may_compute(
    folder: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setattr(cores, "allowed", lambda: 64)
    monkeypatch.setattr(cores, "quota", lambda: share)
    reading: set[int] = set()

    class Heard(Silent):
        def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
            reading.add(threading.get_ident())

    hash_files(folder, many(folder, 8, 3 * _SIZE), Heard())
    assert 1 <= len(reading) <= share


def test_ctrl_c_waits_for_no_file(folder: Path) -> None:
    names = many(folder, 2, 20 * _SIZE)
    seen: list[int] = []

    class Impatient(Silent):
        def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
            seen.append(done)
            if len(seen) == 1:
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        hash_files(folder, names, Impatient())
    assert max(seen) < 2 * 20 * _SIZE // 1_000_000


def test_digests_side_by_side_are_those_of_one_after_the_other(folder: Path) -> None:
    (folder / "deeper").mkdir()
    for name in ("b", "a", ".hidden", "manifest.json", "deeper/c", "deeper/.hidden"):
        (folder / name).write_text(name)
    found = digests_below(folder, Silent(), skip=["manifest.json"])
    assert found == digest_folder(folder, skip=["manifest.json"])
    assert [one.name for one in found] == ["a", "b", "deeper/c", "file"]
