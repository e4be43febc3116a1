"""The file of a task's rows is written and read in one place."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.contracts.errors import ComparisonError
from infra.suite.rows import (
    Row,
    question_of,
    questions_digest,
    read_lines,
    read_rows,
    row_of,
    write_rows,
)
from tests.infra.made_runs import make_row

ROW = row_of(make_row("t", 0, "Wieviel?\n🙂", "2", "2", {"acc,none": 1.0}, {"question": "2"}))


def rows(count: int) -> list[Row]:
    return [replace(ROW, doc_id=number) for number in range(count)]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "below" / "t.jsonl"
    ended = replace(ROW, finish_reason="length", truncated=True)
    write_rows(path, [*rows(2), ended])
    assert [*read_rows(path, "t")] == [*rows(2), ended]


def test_numbers_of_numpy_are_numbers_and_what_json_does_not_know_is_text(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    marked = replace(ROW, metrics={"acc,none": np.float64(0.5)}, target=Path("x"))
    write_rows(path, [marked])
    (read,) = read_rows(path, "t")
    assert (read.metrics, read.target) == ({"acc,none": 0.5}, "x")


def test_rows_of_earlier_versions_give_no_reason_for_their_end(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    write_rows(path, [ROW])
    value = json.loads(path.read_text())
    del value["finish_reason"]
    path.write_text(json.dumps(value | {"later": 1}))
    assert [*read_rows(path, "t")] == [ROW]


def test_a_line_is_given_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    write_rows(path, rows(3))
    path.write_text(path.read_text().replace('"doc_id": 1,', '"doc_id":  1 ,'))
    lines = [line for line, _ in read_lines(path, "t")]
    assert "".join(lines).encode() == path.read_bytes()
    assert len(lines) == 3


def without(field: str) -> Callable[[bytes], bytes]:
    def change(line: bytes) -> bytes:
        value = json.loads(line)
        del value[field]
        return json.dumps(value).encode()

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda line: line[:-20], "JSONDecodeError"),
        (lambda line: b"", "JSONDecodeError"),
        (lambda line: b"[1]", "TypeError"),
        (lambda line: line.replace(b"Wie", b"W\xffe"), "UnicodeDecodeError"),
        *((without(field), f"KeyError.'{field}'") for field in ("doc_id", "doc", "prompt")),
    ],
)
def test_the_line_that_is_no_row_is_named(
    tmp_path: Path, change: Callable[[bytes], bytes], said: str
) -> None:
    path = tmp_path / "t.jsonl"
    write_rows(path, rows(3))
    lines = path.read_bytes().split(b"\n")
    lines[1] = change(lines[1])
    path.write_bytes(b"\n".join(lines))
    found = read_rows(path, "gsm8k")
    assert next(found).doc_id == 0  # read one by one
    with pytest.raises(ComparisonError, match=f"Line 2 of .* is not a row of gsm8k: {said}") as no:
        next(found)
    assert (no.value.task, no.value.field) == ("gsm8k", "rows")
    assert len(no.value.fact) < 500 + len(str(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ComparisonError, match=r"rows of t cannot be read from .*t\.jsonl: No such"):
        next(read_rows(tmp_path / "t.jsonl", "t"))


@pytest.mark.parametrize("field", ["task", "doc_id", "doc_hash", "prompt_hash", "target_hash"])
def test_the_digest_of_the_questions_sees_each_word(field: str) -> None:
    before = questions_digest(rows(2))
    answered = replace(ROW, doc_id=1, responses=[["3"]], metrics={})
    assert questions_digest([ROW, answered]) == before
    changed: dict[str, Any] = {field: "other"}
    assert questions_digest([ROW, replace(answered, **changed)]) != before


def test_a_document_without_a_question_is_identified_by_its_hash() -> None:
    assert question_of({"text": "a"}, "d") == question_of({"question": " "}, "d") == "d"
    assert question_of({"question": ["a"], "query": "b"}, "d") == question_of({"query": "b"}, "e")
    assert question_of({"query": "Q: b", "question": "b"}, "d") == question_of(
        {"QUESTION": "b"}, ""
    )
