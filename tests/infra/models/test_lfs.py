"""A pointer of Git LFS is recognized by what it holds, whatever its name promises."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from infra.contracts.errors import DatasetError
from infra.models import lfs

OID = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 988097824\n"
ANNEX = f"/annex/objects/SHA256E-s988097824--{OID}.safetensors\n"


@pytest.mark.parametrize(
    "content",
    [POINTER, POINTER.replace("\n", "\r\n"), POINTER.replace("git-lfs", "hawser"), ANNEX],
    ids=["lfs", "crlf", "hawser", "annex"],
)
def test_a_pointer_is_recognized_by_its_content(tmp_path: Path, content: str) -> None:
    path = tmp_path / "anything.at.all"
    path.write_bytes(content.encode())
    assert lfs.is_pointer(path)


@pytest.mark.parametrize(
    "content",
    ["", "{}", "version 1", f" {POINTER}", POINTER + "text " * 300, "<html>"],
    ids=["empty", "json", "version", "quoted", "a text about it", "page"],
)
def test_nothing_else_is_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text(content)
    assert not lfs.is_pointer(path)
    lfs.check(path, DatasetError)


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    assert not lfs.is_pointer(tmp_path / "absent")
    assert not lfs.is_pointer(tmp_path)


@pytest.mark.parametrize(("content", "command"), [(POINTER, "lfs pull"), (ANNEX, "annex get")])
def test_in_a_clone_the_remedy_is_a_command_for_that_folder(
    tmp_path: Path, content: str, command: str
) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    folder = tmp_path / "my model"
    folder.mkdir()
    (folder / "tokenizer.json").write_text(content)
    assert f"cd '{folder}' && git {command}" in lfs.remedy(folder / "tokenizer.json")
    with pytest.raises(DatasetError, match=r"tokenizer\.json is a .* pointer") as caught:
        lfs.check(folder / "tokenizer.json", DatasetError)
    assert command in caught.value.remedy


def test_outside_of_a_clone_the_remedy_says_where_to_run_it(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text(POINTER)
    assert "is no clone" in lfs.remedy(path)
    assert "download the file itself" in lfs.remedy(path)
