"""Rows of whatever file people have: read, or called by its name with a command that works."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from infra.contracts.errors import DatasetError
from infra.conversations.reading.rows import Wanted, is_rows, paragraphs, read_rows
from tests.conftest import ROOT

WANTED = Wanted(
    field="fidelity.texts",
    called="The file",
    error=DatasetError,
    example='{"text": "…"}',
    columns=frozenset(["text"]),
)
ROWS = [{"text": f"Größe {number},\nin two lines", "kind": "a"} for number in range(600)]
LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode()


def zstd(content: bytes) -> bytes:
    return bytes(pyarrow.Codec("zstd").compress(content, asbytes=True))


def parquet(_: bytes) -> bytes:
    target = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), target)
    return target.getvalue()


def arrow(stream: bool) -> Callable[[bytes], bytes]:
    def write(_: bytes) -> bytes:
        table, target = pyarrow.Table.from_pylist(ROWS), io.BytesIO()
        make = pyarrow.ipc.new_stream if stream else pyarrow.ipc.new_file
        with make(target, table.schema) as writer:
            writer.write_table(table, max_chunksize=100)
        return target.getvalue()

    return write


def table(separator: str, encoding: str = "utf-8") -> Callable[[bytes], bytes]:
    def write(_: bytes) -> bytes:
        target = io.StringIO()
        writer = csv.DictWriter(target, ["text", "kind"], delimiter=separator)
        writer.writeheader()
        writer.writerows(ROWS)
        return target.getvalue().encode(encoding)

    return write


@pytest.mark.parametrize("name", ["rows", "rows.json", "rows.jsonl", "rows.txt", "rows.parquet"])
@pytest.mark.parametrize(
    "pack",
    [
        bytes,
        gzip.compress,
        bz2.compress,
        lzma.compress,
        zstd,
        parquet,
        arrow(stream=True),
        arrow(stream=False),
        table(","),
        table("\t"),
        table(";", "utf-8-sig"),
        lambda content: gzip.compress(table(",")(content)),
        lambda content: content.decode().encode("utf-8-sig"),
        lambda content: content.decode().encode("utf-16"),
        lambda content: content.decode().encode("utf-32"),
        lambda content: content.replace(b"}\n", b"}\r\n"),
    ],
    ids=["plain", "gzip", "bzip2", "xz", "zstd", "parquet", "arrow stream", "arrow file", "csv",
         "tabs", "semicolons", "packed csv", "mark", "utf-16", "utf-32", "line ends"],
)  # fmt: skip
def test_a_file_is_recognized_by_its_content(
    tmp_path: Path, pack: Callable[[bytes], bytes], name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(pack(LINES))
    assert is_rows(path, WANTED)
    found = list(read_rows(path, WANTED))
    assert [row for _, row in found] == ROWS
    assert len({place for place, _ in found}) == len(ROWS)
    assert all(str(path) in place for place, _ in found)


def test_fields_that_a_table_filled_in_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t"
    rows = [{"a": [{"x": "1"}, {"y": "2"}]}, {"a": None}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    assert [row for _, row in read_rows(path, WANTED)] == [rows[0], {}]


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rows.jsonl", LINES)


def workbook(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")


def tarred(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("rows.jsonl")
        member.size = len(LINES)
        archive.addfile(member, io.BytesIO(LINES))


def pointer(path: Path) -> None:
    path.write_text(
        "version https://git-lfs.github.com/spec/v1\n"
        "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
    )


def a_folder(path: Path) -> None:
    path.mkdir()
    (path / "train.jsonl").write_bytes(LINES)


def saved_to_disk(path: Path) -> None:
    import datasets

    datasets.Dataset.from_list(ROWS).save_to_disk(str(path))


def saved_splits(path: Path) -> None:
    import datasets

    datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}).save_to_disk(str(path))


def holding(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


@pytest.mark.parametrize(
    ("name", "make", "says"),
    [
        ("a.zip", zipped, ("ZIP", "unzip")),
        ("a.xlsx", workbook, ("Excel", "CSV")),
        ("a.tar.gz", tarred, ("tar archive", "tar -xf")),
        ("a.jsonl", pointer, ("Git LFS", "git lfs pull")),
        ("a", a_folder, ("Is a directory", "train.jsonl")),
        ("a", saved_to_disk, ("save_to_disk", "load_from_disk")),
        ("a", saved_splits, ("save_to_disk", '["train"]')),
        ("a.jsonl", holding(LINES.decode().encode("utf-16-le")), ("UTF-16LE", "iconv")),
        ("a.jsonl", holding(LINES.decode().encode("latin-1")), ("Line 1", "not utf-8", "iconv")),
        ("a.csv", holding(table(",", "latin-1")(b"")), ("Line 3", "not utf-8", "iconv")),
        ("a.csv", holding(b"question,answer\n1,2\n"), ("no column", "question,answer")),
        ("a.csv", holding(b"text,kind\na,b,c\n"), ("more cells", "line 2")),
        ("a.jsonl", holding(b"<!DOCTYPE html><html>Log in"), ("page (HTML", "Copy or download")),
        ("a.parquet", holding(parquet(b"")[:900]), ("damaged", "Copy or download")),
        ("a.arrow", holding(arrow(stream=True)(b"")[:9000]), ("damaged", "Copy or download")),
        ("a.gz", holding(gzip.compress(LINES)[:900]), ("damaged", "Copy or download")),
        ("a.zst", holding(zstd(LINES)[:300]), ("damaged", "Copy or download")),
        ("a.xz", holding(lzma.compress(LINES)[:99]), ("damaged", "Copy or download")),
        ("a.gz", holding(gzip.compress(parquet(b""))), ("Parquet or Arrow inside gzip", "gzip -d")),
        ("a.bin", holding(b"\x80\x04\x95\0\0\0"), ("binary", "Copy or download")),
        ("a.jsonl", lambda path: None, ("No such file", "fidelity.texts")),
    ],
)
def test_what_is_no_rows_is_called_by_its_name(
    tmp_path: Path, name: str, make: Callable[[Path], None], says: tuple[str, ...]
) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(DatasetError) as caught:
        list(read_rows(path, WANTED))
    print(caught.value)
    assert path.name in caught.value.fact
    assert caught.value.remedy
    for part in says:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a b.zip", zipped),
        ("a.tar.gz", tarred),
        ("a", saved_to_disk),
        ("a", saved_splits),
        ("a.jsonl", holding(LINES.decode().encode("utf-16-le"))),
        ("a.jsonl", holding(LINES.decode().encode("windows-1252"))),
        ("a.gz", holding(gzip.compress(parquet(b"")))),
    ],
)
def test_commands_of_remedies_work(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(DatasetError) as caught:
        list(read_rows(path, WANTED))
    command = re.search("`([^`]+)`", caught.value.remedy)
    assert command, caught.value.remedy
    before = set(tmp_path.iterdir())
    subprocess.run(command[1], shell=True, check=True, cwd=tmp_path)
    (made,) = set(tmp_path.iterdir()) - before
    assert [row for _, row in read_rows(made, WANTED)] == ROWS


def test_text_is_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    for content in ("Hello, text, and more.\n\nTwo.", "[1] Hello\n\nTwo.", "{a} Hello\n\nTwo."):
        path.write_bytes(gzip.compress(content.encode()))
        assert not is_rows(path, WANTED)
        assert list(paragraphs(path, WANTED)) == content.split("\n\n")


def test_a_relative_path_says_where_it_was_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(DatasetError) as caught:
        list(read_rows(Path("no.jsonl"), WANTED))
    assert str(ROOT) in caught.value.cause
