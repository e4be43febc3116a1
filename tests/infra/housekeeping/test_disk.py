from __future__ import annotations

import os
from pathlib import Path

from infra.housekeeping.disk import coming_free, remove, taken
from tests.infra.housekeeping.made_store import disk_use


def write(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


def test_it_counts_as_du_does(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "file", 123_456)
    with (tmp_path / "a" / "sparse").open("wb") as sparse:
        sparse.truncate(50_000_000)
    assert taken([[tmp_path / "a"]]) == [disk_use(tmp_path / "a")]
    assert coming_free([[tmp_path / "a"]]) == [disk_use(tmp_path / "a")]
    assert remove(tmp_path / "a") > 120_000


def test_what_has_a_name_elsewhere_gives_nothing_back(tmp_path: Path) -> None:
    shared = write(tmp_path / "kept" / "file", 100_000)
    (tmp_path / "goes").mkdir()
    os.link(shared, tmp_path / "goes" / "file")
    folder = (tmp_path / "goes").lstat().st_blocks * 512
    before = disk_use(tmp_path)
    assert coming_free([[tmp_path / "goes"]]) == [folder]
    assert remove(tmp_path / "goes") == folder == before - disk_use(tmp_path)
    assert shared.stat().st_size == 100_000


def test_two_names_that_go_together_give_their_room_back_once(tmp_path: Path) -> None:
    one = write(tmp_path / "one" / "file", 100_000)
    (tmp_path / "two").mkdir()
    os.link(one, tmp_path / "two" / "file")
    both = [tmp_path / "one"], [tmp_path / "two"]
    total = disk_use(tmp_path / "one", tmp_path / "two")
    assert sum(coming_free(both)) == sum(taken(both)) == total
    assert sum(remove(path) for [path] in both) == total


def test_links_are_not_followed(tmp_path: Path) -> None:
    users = write(tmp_path / "users" / "file", 100_000)
    (tmp_path / "goes").mkdir()
    (tmp_path / "goes" / "folder").symlink_to(tmp_path / "users")
    (tmp_path / "goes" / "file").symlink_to(users)
    assert sum(coming_free([[tmp_path / "goes"]])) == disk_use(tmp_path / "goes")
    remove(tmp_path / "goes")
    assert users.stat().st_size == 100_000


def test_what_is_gone_takes_nothing(tmp_path: Path) -> None:
    assert taken([[tmp_path / "none"]]) == coming_free([[tmp_path / "none"]]) == [0]
