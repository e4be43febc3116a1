"""Objects behind a URL: whole or not there, created by one alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.contracts.errors import PreflightError
from infra.store.shared.place import Place, without_credentials
from tests import object_store


def test_of_all_who_create_the_same_one_does(url: str) -> None:
    place = Place(url)
    with ThreadPoolExecutor(8) as pool:
        for number in range(10):
            made = list(pool.map(lambda n: place.create(f"a/{number}", b"%d" % n), range(8)))  # noqa: B023
            assert sum(made) == 1
            assert place.read(f"a/{number}") == b"%d" % made.index(True)
    assert place.names("a") == sorted(map(str, range(10)))


def test_an_object_is_what_was_put_last_and_gone_when_removed(url: str, tmp_path: Path) -> None:
    place = Place(url)
    assert (place.read("x/y"), place.names("x")) == (None, [])
    place.put("x/y", b"one")
    place.put("x/y", b"two")
    assert (place.read("x/y"), place.names("x"), place.names("")) == (b"two", ["y"], ["x"])
    file = tmp_path / "file"
    file.write_bytes(b"large")
    digest = place.upload(file, "x/z/file")
    assert place.download("x/z/file", tmp_path / "back" / "file") == digest.sha256
    assert (tmp_path / "back" / "file").read_bytes() == b"large"
    place.remove("x")
    place.remove("x")
    assert place.names("x") == []


def test_a_place_is_tried_as_locks_use_it(url: str) -> None:
    place = Place(url)
    assert place.require_usable() == url
    assert place.names("probes") == []


def test_a_place_that_cannot_be_used_is_refused_with_its_cause() -> None:
    with pytest.raises(PreflightError, match="cannot be opened") as none:
        Place("nonsense://bucket")
    assert "nonsense" in none.value.cause
    with pytest.raises(PreflightError, match="cannot hold locks") as locks:
        Place("webhdfs://host/x")
    assert "WebHDFS" in locks.value.cause
    with object_store.serving() as store:
        place = Place(store.url)
        store.away = True
        with pytest.raises(PreflightError, match="cannot be used") as away:
            place.require_usable()
    assert "503" in away.value.cause


def test_credentials_in_a_url_are_not_said() -> None:
    assert without_credentials("sftp://me:secret@host/x?key=secret") == "sftp://host/x"
    assert without_credentials("/mnt/x") == "/mnt/x"
    assert without_credentials("s3://bucket/x") == "s3://bucket/x"
    chained = "simplecache::sftp://me:se@cret@host/x?key=secret::zip://a.zip"
    assert without_credentials(chained) == "simplecache::sftp://host/x::zip://a.zip"
    said = "nobody answers at https://me:secret@host/x?key=secret, which was asked"
    assert "secret" not in without_credentials(said) and "asked" in without_credentials(said)


def test_neither_are_those_of_a_chain_that_cannot_be_used() -> None:
    with pytest.raises(PreflightError) as refused:
        Place("simplecache::webhdfs://me:secret@host/x")
    assert "secret" not in str(refused.value)
