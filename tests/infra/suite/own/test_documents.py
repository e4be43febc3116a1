"""Questions about a folder of documents: what is asked, what is right, what is refused before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.contracts.errors import DatasetError, EvaluationError
from infra.contracts.progress import Silent
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.store.settings import Settings
from infra.suite import kind_of
from infra.suite.own import marks
from infra.suite.own.definition import load, written
from infra.suite.own.documents import NOTHING, Passage, prompt, recall

NORTH, SOUTH = "The North plan costs 12 euros a month.", "The South plan costs 30 euros."
COSTS = {"question": "What does the North plan cost?", "answer": "12 euros", "passages": NORTH}
NONE = {"question": "What does the West plan cost?"}


def files(where: Path, *rows: Any, **options: Any) -> Path:
    """Write a folder of two documents, rows and settings; return the file of rows."""
    docs = where / "docs"
    docs.mkdir(exist_ok=True)
    (docs / "north.md").write_text(f"# North\n\n{NORTH}\n" + "It has no minimum term. " * 30)
    (docs / "south.txt").write_text(f"{SOUTH}\nIt runs for a year.")
    path = where / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"documents": {"folder": "docs", **options}}
    path.with_suffix(".yaml").write_text(yaml.safe_dump(settings))
    return path


def test_a_question_is_put_with_what_was_found_before_it() -> None:
    assert prompt("Why?", [("a.md", "One."), ("b.md", "{number} {question}")]) == (
        "Answer the question from the passages alone, in a few words. If they do not hold the "
        "answer, write: not in the documents\n\n[1] a.md\nOne.\n\n[2] b.md\n{number} {question}\n\n"
        "Question: Why?\nAnswer:"
    )
    asks = {"beginning": 'Write {"answer": …}, or { {nothing}.'}
    assert prompt("Why?", [], **asks, nothing="no").startswith('Write {"answer": …}, or { no.')
    own = {"beginning": "Say {nothing} if so.", "passage": "<{text}>", "end": "{question}?"}
    assert prompt("Why", [("a", "b")], **own, nothing="no") == "Say no if so.\n\n<b>\n\nWhy?"


def test_before_anything_is_found_a_row_is_as_long_as_it_will_be(tmp_path: Path) -> None:
    own = load(files(tmp_path, COSTS, NONE, top_k=3, chunk_size=100, overlap=10))
    first, second = (json.loads(row["retrieved"]) for row in own.rows)
    assert first[0] == {"document": "", "text": NORTH}
    assert len(first) == len(second) == 3
    assert [row["found"] for row in own.rows] == ["", ""]
    assert [row["answer"] for row in own.rows] == ["12 euros", NOTHING]
    # Who always declines is right where there is nothing.
    assert [row["by_chance"] for row in own.rows] == ["0", "1"]
    for row in own.rows:
        assert marks.from_documents(dict(row), [NOTHING])["right"] == float(row["by_chance"])


def test_rows_with_passages_of_ones_own_retriever_need_no_folder(tmp_path: Path) -> None:
    found = [{"document": "s.md", "text": SOUTH}, f"Plans.\n{NORTH.upper()}"]
    file = files(tmp_path, COSTS | {"retrieved": found}, NONE | {"retrieved": []}, folder="")
    one, other = load(file).rows
    assert f"[2] \nPlans.\n{NORTH.upper()}\n\nQuestion: What does" in one["prompt"]
    assert (one["found"], other["found"]) == ("1.0", "")
    assert other["prompt"].count("[1]") == 0


def test_a_passage_is_found_if_it_stands_whole_in_one_text_of_its_document() -> None:
    found = [Passage("a", "x one\n two y"), Passage("b", "three"), Passage("", "four")]
    assert recall([Passage("a", "ONE two")], found) == 1
    assert recall([Passage("b", "one two")], found) == 0
    assert recall([Passage("", "one two"), Passage("c", "four"), Passage("", "two three")],
                  found) == pytest.approx(2 / 3)  # fmt: skip


RIGHT = {"right": 1.0, "right_where_found": 1.0, "answered_where_found": 1.0}
WRONG = dict.fromkeys(RIGHT, 0.0)


@pytest.mark.parametrize(
    ("said", "scores"),
    [
        (" 12 euros", RIGHT),
        ("It costs 12 Euros a month.", RIGHT),
        ("\u20ac12", RIGHT),
        ("<think>Not in the documents?</think>12 euros", RIGHT),
        ("30 euros", WRONG | {"answered_where_found": 1.0}),
        ("112 euros", WRONG | {"answered_where_found": 1.0}),
        ("12.50 euros", WRONG | {"answered_where_found": 1.0}),
        ("", WRONG | {"answered_where_found": 1.0}),
        ("Not in the documents.", WRONG),
        ("12 euros, but that is not in the documents", WRONG),
    ],
)
def test_an_answer_is_right_if_an_accepted_one_stands_in_it(
    said: str, scores: dict[str, float]
) -> None:
    doc = {"answers": '["the 12 euros", "\u20ac12"]', "nothing": NOTHING, "found": "1.0"}
    assert marks.from_documents(doc, [said]) == scores


def test_rows_whose_passages_were_missed_and_those_that_nothing_answers_are_told_apart() -> None:
    missed = {"answers": '["Rome"]', "nothing": NOTHING, "found": "0.5"}
    assert marks.from_documents(missed, ["Rome"]) == {
        "right": 1.0, "right_where_missed": 1.0,
    }  # fmt: skip
    nothing = {"answers": "[]", "nothing": NOTHING, "found": ""}
    declined = {"right": 1.0, "declined_where_nothing": 1.0}
    assert marks.from_documents(nothing, ["That is NOT in the documents!"]) == declined
    assert marks.from_documents(nothing, ["Rome"]) == dict.fromkeys(declined, 0.0)


def test_words_are_those_of_a_script_without_spaces_as_well() -> None:
    assert marks.stands_in("北京", "是北京市。") and not marks.stands_in("北京", "北 海 京")
    assert marks.stands_in("The Hague", "in Hague") and marks.stands_in("A", "plan A")
    assert not marks.stands_in("art", "a party") and not marks.stands_in("+", "+")


@pytest.mark.parametrize(
    ("row", "options", "says"),
    [
        (COSTS | {"passages": "The East plan costs 5."}, {}, "stands in no document"),
        (COSTS | {"passages": {"document": "south.txt", "text": NORTH}}, {}, "nowhere"),
        (COSTS | {"passages": {"document": "east.md", "text": NORTH}}, {}, "'east.md', which is"),
        (COSTS | {"passages": []}, {}, "an answer and no passages"),
        (NONE | {"passages": NORTH}, {}, "passages and no answer"),
        (COSTS | {"passages": [1]}, {}, "passages in which 1 stands"),
        (COSTS | {"answer": "?"}, {}, "the answer '?', in which is no word"),
        (COSTS | {"answer": "It is not in the documents"}, {}, "says that there is none"),
        (NONE | {"question": "WHAT does  the South plan cost?"}, {}, "asks what another row asks"),
        (COSTS | {"retrieved": []}, {}, "documents.folder is set as well"),
        (COSTS, {"folder": ""}, "no folder of documents is set"),
        (COSTS, {"folder": "elsewhere"}, "elsewhere is not there"),
        (COSTS, {"chunk_size": 20, "overlap": 0}, "38 letters, which no chunk of 20 holds"),
        (COSTS, {"overlap": 1000}, "documents.overlap is 1000"),
        (COSTS, {"top_k": 0}, "documents.top_k is 0"),
        (COSTS, {"library": "haystack"}, "documents.library is 'haystack'"),
        (COSTS, {"passage": "[{number}]"}, "documents.passage shows no {text}"),
        (COSTS, {"end": "Answer:"}, "documents.end shows no {question}"),
        (COSTS, {"nothing": ""}, "documents.nothing has no word"),
        (COSTS, {"nothing": "?!"}, "documents.nothing has no word"),
        (COSTS, {"top_k": "four"}, "sets documents.top_k to 'four'"),
    ],
)
def test_ten_bad_files_and_more_get_one_clear_error(
    tmp_path: Path, row: dict[str, Any], options: dict[str, Any], says: str
) -> None:
    good = {"question": "What does the South plan cost?", "answer": "30", "passages": SOUTH}
    first = [] if options else [good]
    with pytest.raises(EvaluationError) as refusal:
        load(files(tmp_path, *first, row, **options))
    assert says in refusal.value.fact
    assert refusal.value.remedy


def test_an_edited_document_is_another_task(tmp_path: Path) -> None:
    file, settings = files(tmp_path, COSTS, NONE), Settings(cache=tmp_path / "cache")
    before = written("mine", str(file), settings)
    assert written("mine", str(file), settings) == before
    (tmp_path / "docs" / "south.txt").write_text("Another text.")
    assert written("mine", str(file), settings) != before
    (tmp_path / "docs" / "south.txt").unlink()
    (tmp_path / "docs" / "north.md").write_text("Nothing of it is left.")
    with pytest.raises(DatasetError, match="stands in no document"):
        written("mine", str(file), settings)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("folder", ["", "docs"])
def test_an_oracle_scores_one(tmp_path: Path, folder: str) -> None:
    found = {} if folder else {"retrieved": [NORTH, SOUTH]}
    file = files(tmp_path, COSTS | found, NONE | found, folder=folder)
    spec = EvaluationSpec(tasks=(TaskSpec(name="mine", file=str(file)),))
    suite = kind_of(spec).prepare(spec, settings=Settings(cache=tmp_path / "c"), progress=Silent())
    assert not [note for note in getattr(suite, "notes", ()) if "marking" in note]
    (metric, declared) = getattr(suite, "first_metrics")["mine"]  # noqa: B009
    assert (metric, declared.unit, declared.higher_is_better) == ("right", "points", True)
