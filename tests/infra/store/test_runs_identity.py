from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.store.runs_identity import FILE, identify, identity_of


def test_a_folder_keeps_its_identity_and_no_other_has_it(tmp_path: Path) -> None:
    one, other = tmp_path / "one" / "runs", tmp_path / "other" / "runs"
    assert identity_of(one) == ""
    identify(one)
    identify(other)
    first = identity_of(one)
    identify(one)
    assert len(first) == 32 and identity_of(one) == first != identity_of(other)
    assert [path.name for path in one.iterdir()] == [FILE]
    one.rename(tmp_path / "moved")
    assert identity_of(tmp_path / "moved") == first


def test_those_that_begin_together_agree(tmp_path: Path) -> None:
    def begun(_: int) -> str:
        identify(tmp_path / "runs")
        return identity_of(tmp_path / "runs")

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(begun, range(64)))) == 1


def test_a_file_system_without_links_has_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError("Operation not supported")

    monkeypatch.setattr(os, "link", refused)
    identify(tmp_path)
    assert identity_of(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("text", ["", "[]", "{}", "{"])
def test_what_a_damaged_file_says_is_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert identity_of(tmp_path) == ""
