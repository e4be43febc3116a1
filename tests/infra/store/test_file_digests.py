"""What is remembered of files: as long as nobody wrote to them, and by nothing less than that."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from infra.contracts.progress import Silent
from infra.store.file_digests import cached_digests

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
