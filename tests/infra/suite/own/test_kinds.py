"""A file's columns say what it is; a row that cannot be asked or marked is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import DatasetError
from infra.suite.own import marks
from infra.suite.own.definition import load
from infra.suite.own.kinds import KINDS

Q = {"question": "q"}
IMPOSSIBLE = {"type": "object", "required": ["a"], "properties": {"a": False}}


def rows(path: Path, *found: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return path


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_every_example_is_of_its_own_kind(tmp_path: Path, kind: Any) -> None:
    for name, content in kind.beside.items():
        (tmp_path / name).write_text(content)
    own = load(rows(tmp_path / "rows.jsonl", *kind.example))
    assert own.kind is kind
    assert all(row["answer"] for row in own.rows)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [("443", 1), ("B", 1), ("b", 1), (1, 1), ("0", 0), ("80", 0), (["443"], 1), (443, 1)],
)
def test_a_choice_is_named_by_text_letter_or_number(tmp_path: Path, answer: Any, gold: int) -> None:
    own = load(rows(tmp_path / "r.jsonl", Q | {"choices": ["80", 443, "x"], "answer": answer}))
    assert own.rows[0]["gold"] == gold
    assert own.rows[0]["prompt"] == "q\nA. 80\nB. 443\nC. x\nAnswer:"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"choices": ["a", "b"], "answer": "c"}, "the answer 'c', which is none of its 2 choices"),
        ({"choices": ["a", "b"], "answer": ["a", "b"]}, "2 right answers"),
        ({"choices": ["a", "a"], "answer": "a"}, "offers 'a' twice"),
        ({"choices": ["a", "b"]}, "has no answer"),
        ({"choices": ["a", " "], "answer": "a"}, "an empty choice B"),
        ({"choices": "a, b", "answer": "a"}, "choices that is no JSON"),
        ({"choices": ["a"], "answer": "a"}, "no list of 2 to 26"),
        ({"number": "about 3"}, "the number 'about 3'"),
        ({"number": "nan"}, "the number 'nan'"),
        ({"number": "84 m"}, "the number '84 m'"),
        ({"number": "1e400"}, "the number '1e400'"),
        ({"must_call": "[" * 10_000}, "a must_call that is no JSON"),
        ({"schema": {"$ref": "file:///schema.json"}}, "is not in the schema itself"),
        ({"schema": {"$defs": {"a": {"$ref": "http://x.invalid/a"}}}}, "not in the schema itself"),
        ({"schema": {}, "answer": "[" * 10_000}, "its own schema does not allow"),
        ({"prompt": "another", "answer": "a"}, "has 2 questions, in question and in prompt"),
        ({"number": 3, "tolerance": -1}, "the tolerance -1"),
        ({"pattern": "("}, "no regular expression"),
        ({"pattern": "^a$", "answer": "b"}, "its own pattern does not match"),
        ({"schema": IMPOSSIBLE}, "a schema that no JSON satisfies"),
        ({"schema": {"type": "integer", "minimum": 3, "maximum": 2}}, "no JSON satisfies"),
        ({"schema": {"type": "strin"}}, "a schema that is none"),
        ({"schema": {"type": "integer"}, "answer": "x"}, "its own schema does not allow"),
        ({"schema": [1]}, "a schema that is no object"),
        ({"must_call": [{"arguments": {}}]}, "has no name"),
        ({"must_call": {"name": "f", "arguments": [1]}}, "arguments that are no object"),
        ({"must": "maybe"}, "'maybe' in must"),
        ({"reference": ["a", ""]}, "an empty reference"),
        ({"answer": " "}, "has no answer"),
        ({"question": " ", "answer": "a"}, "has no question"),
    ],
)
def test_a_row_that_cannot_be_asked_or_marked_is_named(
    tmp_path: Path, row: dict[str, Any], says: str
) -> None:
    good = next(k for k in KINDS if k.column in row).example[0]
    with pytest.raises(DatasetError) as refusal:
        load(rows(tmp_path / "r.jsonl", good, Q | row))
    assert says in refusal.value.fact
    assert (
        refusal.value.fact.startswith("Line 2 of r.jsonl has")
        or "expects" in says
        or ("Line 2 of r.jsonl" in refusal.value.fact)
    )
    assert refusal.value.remedy


@pytest.mark.parametrize(
    ("given", "number"), [("3,14", "3.14"), ("1,284", "1284"), (84.0, "84.0"), (1e-7, "1E-7")]
)
def test_a_number_is_read_as_an_answer_is(tmp_path: Path, given: Any, number: str) -> None:
    (row,) = load(rows(tmp_path / "r.jsonl", Q | {"number": given})).rows
    assert row["number"] == number


def test_a_pattern_that_finds_no_end_on_its_own_answer_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "PATIENCE_S", 0.1)
    row = Q | {"pattern": "^(a|b|ab)*$", "answer": "ab" * 30 + "c"}
    with pytest.raises(DatasetError, match=r"Line 1 of r\.jsonl cannot be marked: .* no end"):
        load(rows(tmp_path / "r.jsonl", row))


def test_a_missing_column_is_named_with_what_was_probably_meant(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="Is 'anwser' meant to be 'answer'") as no:
        load(rows(tmp_path / "r.jsonl", {"question": "q", "anwser": "a"}))
    assert "init-task" in no.value.remedy
    with pytest.raises(DatasetError, match="no column called question or prompt"):
        load(rows(tmp_path / "r.jsonl", {"frage": "q", "answer": "a"}))


def test_a_file_that_could_be_marked_in_two_ways_is_refused(tmp_path: Path) -> None:
    both = Q | {"number": 1, "pattern": "1"}
    with pytest.raises(DatasetError, match="could be marked in 2 ways"):
        load(rows(tmp_path / "r.jsonl", both))


def test_a_question_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    one = Q | {"answer": "a"}
    with pytest.raises(DatasetError, match=r"Line 3 of r\.jsonl asks the same as line 1"):
        load(rows(tmp_path / "r.jsonl", one, {"question": "other", "answer": "a"}, one))


def test_rows_of_many_shapes_become_rows_of_one(tmp_path: Path) -> None:
    own = load(
        rows(
            tmp_path / "r.jsonl",
            {"prompt": "1", "answer": 1, "note": {"a": 1}},
            {"question": "2", "answer": "x", "id": 7},
        )
    )
    assert own.rows[0].keys() == own.rows[1].keys()
    assert [row["answer"] for row in own.rows] == ["1", "x"]
    assert [row["note"] for row in own.rows] == ['{"a": 1}', ""]


def test_a_hundred_thousand_rows_are_read(tmp_path: Path) -> None:
    path = rows(
        tmp_path / "r.jsonl",
        *({"question": f"question {n}", "schema": {"type": "integer"}} for n in range(100_000)),
    )
    assert len(load(path).rows) == 100_000
