"""Rows without labels are asked all the same, and become a file to hand in."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import entropy

from infra.contracts.errors import DatasetError
from infra.contracts.progress import Silent
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.store.settings import Settings
from infra.suite import kind_of
from infra.suite.own import marks
from infra.suite.own.definition import load
from infra.suite.own.submission import submission_of
from infra.suite.rows import Row, row_of
from tests.infra.made_runs import make_row

ROW = {"prompt": "p", "response_a": "first", "response_b": "second"}


def own(tmp_path: Path, *rows: Any, name: str = "r.jsonl") -> list[Any]:
    file = tmp_path / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(load(file).rows)


def answered(doc: Any, shares: list[float]) -> Row:
    likelihoods = [[math.log(one) - 3.0, False] for one in shares]
    row = make_row("judge", 0, doc["prompt"], 2, likelihoods, {"entropy,none": 0.0}, doc)
    return row_of(row | {"filtered": {"none": likelihoods}})


def test_rows_without_any_label_are_asked_in_both_orders(tmp_path: Path) -> None:
    rows = own(tmp_path, ROW, ROW)  # that one asks the same twice costs nothing here
    assert [(row["order"], row["row_number"]) for row in rows] == [
        ("ab", "0"), ("ba", "0"), ("ab", "1"), ("ba", "1"),
    ]  # fmt: skip
    assert {row["to_submit"] for row in rows} == {"preference"}


def test_a_label_that_is_missing_among_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"Line 2 of r\.jsonl has 0 winners"):
        own(tmp_path, ROW | {"winner": "a"}, ROW | {"prompt": "q"})


def test_both_orders_are_averaged_as_the_answers_are_called_in_the_file(tmp_path: Path) -> None:
    docs = own(tmp_path, ROW | {"id": "x7"}, ROW)
    shares = [[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]
    found = submission_of([answered(doc, one) for doc, one in zip(docs, shares, strict=True)])
    assert found is not None
    assert found.columns == ("id", "winner_model_a", "winner_model_b", "winner_tie")
    assert found.rows[0] == ("x7", pytest.approx(0.65), pytest.approx(0.25), pytest.approx(0.1))
    assert found.rows[1] == (1, pytest.approx(0.375), pytest.approx(0.375), pytest.approx(0.25))
    assert found.uniform == 0


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (ROW | {"prompt": None}, "has no prompt"),
        (ROW | {"prompt": "[null]"}, "has no prompt"),
        (ROW | {"response_b": None}, "has no response_b"),
    ],
)
def test_what_cannot_be_asked_has_the_uniform_answer_and_is_counted(
    tmp_path: Path, row: Any, says: str
) -> None:
    docs = own(tmp_path, ROW, row)
    assert [doc["nothing_to_ask"] for doc in docs] == ["", "", says, says]
    found = submission_of([answered(doc, [0.8, 0.1, 0.1]) for doc in docs])
    assert found is not None
    assert found.rows[1] == (1, *[pytest.approx(1 / 3)] * 3)
    assert found.uniform == 1


def test_a_file_of_which_nothing_can_be_asked_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"No row of r\.jsonl can be asked"):
        own(tmp_path, {"prompt": "p", "response_a": "x", "response_B": "y"})


def test_rows_with_labels_are_handed_in_nowhere(tmp_path: Path) -> None:
    docs = own(tmp_path, ROW | {"winner": "a"})
    assert submission_of([answered(doc, [0.8, 0.1, 0.1]) for doc in docs]) is None


def test_how_undecided_it_is_is_the_entropy() -> None:
    for shares in ([0.7, 0.2, 0.1], [1 / 3] * 3, [0.98, 0.01, 0.01]):
        found = marks.preference_unlabelled({}, [(math.log(one) - 2, False) for one in shares])
        assert found["entropy"] == pytest.approx(entropy(shares), abs=1e-9)
    certain = [(-100.0, False), (0.0, True), (-100.0, False)]
    assert marks.preference_unlabelled({}, certain) == {"entropy": 0.0}
    empty = {"nothing_to_ask": "has no prompt", "gold": 1}
    assert marks.preference_unlabelled(empty, certain)["entropy"] == pytest.approx(math.log(3))
    assert marks.preference(empty, certain)["log_loss"] == pytest.approx(math.log(3))


@pytest.mark.parametrize("label", [{}, {"winner": "a"}])
def test_the_oracle_is_not_held_to_rows_that_nobody_can_answer(
    tmp_path: Path, label: dict[str, str]
) -> None:
    rows = [ROW | label, ROW | label | {"prompt": "q"}, ROW | label | {"response_a": None}]
    own(tmp_path, *rows)
    spec = EvaluationSpec(tasks=(TaskSpec(name="judge", file=str(tmp_path / "r.jsonl")),))
    suite: Any = kind_of(spec).prepare(
        spec, settings=Settings(cache=tmp_path / "cache"), progress=Silent()
    )
    assert [note for note in suite.notes if "marking" in note] == []
    metric = suite.metrics("judge")["log_loss" if label else "entropy"]
    assert (metric.unit, metric.higher_is_better) == ("nats", False)


@pytest.mark.parametrize("ids", [(7, "7"), (1, None)])
def test_lines_that_could_be_taken_for_each_other_are_refused(tmp_path: Path, ids: Any) -> None:
    """Without an id the number of the row stands there, which may be the id of another."""
    with pytest.raises(DatasetError, match=r"Line 2 of r.jsonl has the id \d, as line 1 has"):
        own(tmp_path, *(ROW | {"id": one} for one in ids))
