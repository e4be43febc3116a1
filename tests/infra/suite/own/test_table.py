"""Files of rows are read whole, or refused with the line that is wrong."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from infra.contracts.errors import DatasetError
from infra.suite.own.table import read

ROWS = [{"question": "Größe? 東京", "answer": 'a,"b"\nc'}, {"question": "2", "answer": "d"}]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        import pandas

        pandas.DataFrame(rows).to_csv(path, index=False)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("end", ["jsonl", "csv", "parquet"])
def test_the_same_rows_are_read_from_every_format(tmp_path: Path, end: str) -> None:
    found = read(write(tmp_path / f"rows.{end}", ROWS))
    assert [cells for _, cells in found] == ROWS
    assert [place for place, _ in found] == (
        ["line 1", "line 2"] if end == "jsonl" else ["row 1", "row 2"]
    )


def test_a_cell_of_a_csv_is_the_text_that_stands_there_and_an_empty_one_no_value(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes('\ufeff,question,choices,note\n0,q,"[""a"",null]",\n1,"[1,2]",{},1\n'.encode())
    assert [cells for _, cells in read(path)] == [
        {"question": "q", "choices": '["a",null]'},
        {"question": "[1,2]", "choices": "{}", "note": "1"},
    ]


def test_values_of_parquet_are_those_of_json(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    rows = [
        {"day": date(2026, 1, 31), "at": datetime(2026, 1, 31, 10), "price": Decimal("1.50"),
         "raw": b"a\xff", "missing": float("nan"), "call": {"name": "f", "arguments": {"a": 1}}},
        {"call": {"name": "g", "arguments": {"b": [True]}}},
    ]  # fmt: skip
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    assert [cells for _, cells in read(path)] == [
        {"day": "2026-01-31", "at": "2026-01-31T10:00:00", "price": "1.50", "raw": "a\\xff",
         "call": {"name": "f", "arguments": {"a": 1}}},
        {"call": {"name": "g", "arguments": {"b": [True]}}},
    ]  # fmt: skip


def test_the_name_of_a_folder_is_no_column(tmp_path: Path) -> None:
    folder = tmp_path / "lang=de"
    folder.mkdir()
    assert read(write(folder / "rows.parquet", ROWS))[0][1] == ROWS[0]


def test_a_column_that_a_parquet_file_has_twice_is_refused(tmp_path: Path) -> None:
    table = pyarrow.table([["q"], ["a"], ["b"]], names=["question", "answer", "answer"])
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(DatasetError, match="two columns called 'answer'"):
        read(tmp_path / "rows.parquet")


def test_null_is_no_value_and_an_empty_line_no_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": null, "b": 1}\n\n{"b": 2}\n')
    assert read(path) == [("line 1", {"b": 1}), ("line 3", {"b": 2})]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("rows.jsonl", b"", "holds no rows"),
        ("rows.jsonl", b'{"a": 1}\n{"a": \n', "Line 2 of rows.jsonl is no JSON"),
        ("rows.jsonl", b'[{"a": 1}]', "Line 1 of rows.jsonl is a list"),
        ("rows.jsonl", '{"a": "é"}'.encode("latin-1"), "no UTF-8: byte 7 is 0xe9"),
        ("rows.csv", b"a,b\n1,2,3\n", "Row 1 of rows.csv has 3 cells; its header has 2"),
        ("rows.csv", b'a,b\n1,"2"3\n', "Line 2 of rows.csv is no CSV"),
        ("rows.csv", b"a,b\n", "holds no rows"),
        ("rows.csv", b"\xef\xbb\xbfa;b\n1;2, 3\n", "parted by semicolons"),
        ("rows.csv", b"a\tb\n1\t2\n", "parted by tabs"),
        ("rows.csv", "a,b\n1,2\n".encode("utf-16"), "iconv -f UTF-16 -t UTF-8 rows.csv"),
        ("rows.csv", b"a,b,a\n1,2,3\n", "two columns called 'a'"),
        ("rows.jsonl", b'{"a": 1, "a": 2}', "no JSON: 'a' stands there twice"),
        ("rows.jsonl", b'{"a": ' + b"1" * 5000 + b"}", "Line 1 of rows.jsonl is no JSON"),
        ("rows.jsonl", b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "lists without end"),
        ("rows.jsonl", b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}", "lists without end"),
        ("rows.parquet", b"PAR1 and no more", "cannot be read as parquet"),
        ("rows.xlsx", b"x", "ends in .xlsx"),
        ("rows", b"x", "ends in nothing"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_rows_is_refused(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=says.replace(".", r"\.")) as refusal:
        read(path)
    assert refusal.value.remedy


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not there"):
        read(tmp_path / "rows.jsonl")
    with pytest.raises(DatasetError, match="a folder"):
        read(tmp_path)


def test_a_cell_may_hold_a_whole_document(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('a,b\n"' + "long, " * 100_000 + '",2\n')
    [(_, cells)] = read(path)
    assert len(cells["a"]) == 600_000
