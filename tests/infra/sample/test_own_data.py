"""The rows of the assistant's tasks: made by the code beside them, and no part of its training."""

import csv
import itertools
import json
from pathlib import Path

import pytest

from infra.sample.training import build_own_data, misconceptions
from infra.sample.training.assistant import long_documents, short_documents
from infra.sample.training.formats import text_of
from infra.sample.training.items import held_out
from infra.suite.own.definition import load

OWN = build_own_data.FOLDER


def rows(name):
    text = (OWN / name).read_text(encoding="utf-8")
    if name.endswith(".csv"):
        return list(csv.DictReader(text.splitlines()))
    return [json.loads(line) for line in text.splitlines()]


def questions():
    """Everything that any row asks: one text a turn, or two questions in one."""
    return {
        *(turn for name in ("preference.jsonl", "preference-unlabelled.jsonl")
          for row in rows(name) for turn in row["prompt"]),
        *(row["question"] for name in ("tools.jsonl", "schema.jsonl", "documents.jsonl")
          for row in rows(name)),
        *(row["QuestionText"] for row in rows("misconceptions-test.csv")),
    }  # fmt: skip


def test_the_files_are_what_the_code_writes(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(build_own_data, "FOLDER", tmp_path)
    build_own_data.main()
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    there = {
        path.relative_to(OWN)
        for path in OWN.rglob("*")
        if path.is_file() and path.suffix != ".yaml"
    }
    assert written == there
    for path in written:
        assert (tmp_path / path).read_bytes() == (OWN / path).read_bytes(), path


def test_every_question_is_held_out() -> None:
    assert len(questions()) > 800
    assert [text for text in questions() if not held_out(text)] == []


def test_no_question_stands_in_the_training_text() -> None:
    documents = [
        *itertools.islice(short_documents("held-out"), 4000),
        *itertools.islice(long_documents("held-out"), 300),
    ]
    text = "\n".join(text_of(document) for document in documents)
    assert [one for one in questions() if one in text] == []


@pytest.mark.parametrize(
    ("name", "kind", "count"),
    [
        ("preference.jsonl", "preference", 600),
        ("schema.jsonl", "schema", 120),
        ("documents.jsonl", "documents", 100),
        ("tools.jsonl", "tools", 600),
        ("misconceptions-test.csv", "retrieval", 146),
        ("preference-unlabelled.jsonl", "preference", 80),
    ],
)
def test_each_file_is_a_task(name, kind, count) -> None:
    own = load(OWN / name)
    assert own.kind.name == kind
    assert len(own.rows) == count


def test_misconceptions_are_asked_in_the_words_of_the_training() -> None:
    first = load(OWN / "misconceptions-test.csv").rows[0]
    number = 0
    row = rows("misconceptions-test.csv")[number]
    letter = next(one for one in "ABCD" if row[f"Misconception{one}Id"])
    construct = misconceptions.CONSTRUCTS[int(row["ConstructId"])]
    right = row[f"Answer{row['CorrectAnswer']}Text"]
    asked = misconceptions.Question(construct, row["QuestionText"], right, {})
    last = misconceptions.block(asked, row[f"Answer{letter}Text"])
    begun = first["prompt"].removesuffix(last)
    assert begun != first["prompt"]
    assert begun.startswith(f"{misconceptions.BEGINNING}\n\nSubject: ")
    assert begun.count("\nMisconception: ") == 2


def test_the_winners_are_balanced() -> None:
    won = [
        sum(row[name] for row in rows("preference.jsonl"))
        for name in ("winner_model_a", "winner_model_b", "winner_tie")
    ]
    assert sum(won) == 300
    assert min(won) > 80


def test_the_misconceptions_that_are_given_are_those_that_the_answers_show() -> None:
    listed = {int(row["MisconceptionId"]): row["MisconceptionName"]
              for row in rows("misconceptions.csv")}  # fmt: skip
    assert tuple(listed.values()) == misconceptions.NAMES
    assert len({*misconceptions.NAMES}) == len(misconceptions.NAMES) > 100
    given = 0
    for row in rows("misconceptions-test.csv"):
        assert row[f"Misconception{row['CorrectAnswer']}Id"] == ""
        construct = misconceptions.CONSTRUCTS[int(row["ConstructId"])]
        for letter in "ABCD":
            if number := row[f"Misconception{letter}Id"]:
                assert listed[int(number)] in construct.wrong
                given += 1
    assert 120 <= given <= 180


def test_what_answers_a_question_stands_in_its_document() -> None:
    for row in rows("documents.jsonl"):
        for passage in row["passages"]:
            path = OWN / "documents" / passage["document"]
            assert row["answer"] in passage["text"]
            if path.suffix in (".md", ".txt", ".html"):
                assert passage["text"] in path.read_text(encoding="utf-8")


def test_the_second_model_is_small() -> None:
    files = Path(OWN).parents[1].joinpath("assistant").iterdir()
    assert sum(path.stat().st_size for path in files) < 10_000_000
