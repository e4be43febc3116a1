"""Two answers to one prompt, judged by the probabilities of three letters."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss

from infra.contracts.errors import DatasetError, EvaluationError
from infra.contracts.progress import Silent
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.store.settings import Settings
from infra.suite import kind_of
from infra.suite.own import marks
from infra.suite.own.definition import load
from infra.suite.own.preference import _cut, allowed

ROW = {"prompt": "p", "response_a": "first", "response_b": "second", "winner": "model_a"}


def own(tmp_path: Path, *rows: Any, beside: str = "") -> list[Any]:
    file = tmp_path / "r.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if beside:
        file.with_suffix(".yaml").write_text(beside)
    return list(load(file).rows)


def test_both_orders_are_asked_and_the_label_goes_with_the_answer(tmp_path: Path) -> None:
    one, other = own(tmp_path, ROW)
    assert (one["order"], one["answer"], other["order"], other["answer"]) == ("ab", "A", "ba", "B")
    assert one["prompt"].index("first") < one["prompt"].index("second")
    assert other["prompt"].index("second") < other["prompt"].index("first")
    assert one["question"] == other["question"]  # one cluster
    ties = own(tmp_path, ROW | {"winner": "tie (bothbad)"})
    assert [row["answer"] for row in ties] == ["C", "C"]


def test_one_order_alone_and_words_of_the_users_own(tmp_path: Path) -> None:
    beside = "preference: {both_orders: false, beginning: Urteile., end: 'Besser:'}\n"
    (row,) = own(tmp_path, ROW, beside=beside)
    assert row["prompt"] == (
        "Urteile.\n\n[User]\np\n\n[Assistant A]\nfirst\n\n[Assistant B]\nsecond\n\nBesser:"
    )


def test_lists_that_are_written_as_text_are_parsed_and_null_is_nothing_said(
    tmp_path: Path,
) -> None:
    listed = {
        "prompt": '["one", "two \\ud83d"]', "response_a": '["a1", null]',
        "response_b": ["b1", "[b2]"], "winner_model_a": 0, "winner_model_b": "1", "winner_tie": 0,
    }  # fmt: skip
    row, _ = own(tmp_path, listed)
    assert row["answer"] == "B"
    assert (
        row["prompt"]
        .split("\n\n", 1)[1]
        .startswith(
            "[User]\none\n\n[Assistant A]\na1\n\n[Assistant B]\nb1\n\n"
            "[User]\ntwo \ufffd\n\n[Assistant A]\n(nothing)\n\n[Assistant B]\n[b2]"
        )
    )


def test_a_list_in_a_text_is_never_evaluated(tmp_path: Path) -> None:
    code = "[__import__('os').getcwd()]"
    row, _ = own(tmp_path, ROW | {"response_a": code})
    assert code in row["prompt"]


def test_the_other_order_of_a_pair_is_no_worked_example(tmp_path: Path) -> None:
    """It would show the right letter of the pair that is asked about."""
    with pytest.raises(EvaluationError, match="sets num_fewshot"):
        own(tmp_path, ROW, beside="num_fewshot: 1")
    (tmp_path / "r.yaml").unlink()
    line = TaskSpec(name="mine", file=str(tmp_path / "r.jsonl"), num_fewshot=1)
    spec = EvaluationSpec(tasks=(line,))
    settings = Settings(cache=tmp_path / "cache")
    prepared = kind_of(spec).prepare(spec, settings=settings, progress=Silent())
    assert any("num_fewshot=1 is moot" in note for note in prepared.notes)


def test_long_texts_lose_their_middle_and_short_ones_nothing(tmp_path: Path) -> None:
    row = ROW | {"response_a": "x" * 50 + "END", "response_b": "short"}
    one, _ = own(tmp_path, row, beside="preference: {longest: 30}\n")
    assert one["cut"] == "1"
    assert "short" in one["prompt"]
    assert "x" * 12 + "\n[…]\n" + "x" * 9 + "END" in one["prompt"]  # 30 - 5 - 1 letters are left


@pytest.mark.parametrize(
    ("lengths", "longest", "most"),
    [([5, 5], 100, 5), ([5, 100], 50, 45), ([100, 100, 10], 110, 50), ([9, 9, 9], 3, 1)],
)
def test_the_room_is_shared(lengths: list[int], longest: int, most: int) -> None:
    assert allowed(lengths, longest) == most
    assert sum(min(length, most) for length in lengths) <= longest
    assert all(len(_cut("y" * one, most).replace("\n[…]\n", "")) <= most for one in lengths)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"winner": None}, "has 0 winners"),
        ({"winner": "nobody"}, "the winner 'nobody'"),
        ({"winner": None, "winner_model_a": 1, "winner_tie": 1}, "has 2 winners"),
    ],
)
def test_a_row_without_one_winner_is_refused(
    tmp_path: Path, row: dict[str, Any], says: str
) -> None:
    with pytest.raises(DatasetError, match=says):
        own(tmp_path, ROW, ROW | {"prompt": "q"} | row)


@pytest.mark.parametrize(
    "beside", ["preference: {order: ab}", "preference: 1", "preference: {longest: x}"]
)
def test_options_that_there_are_not_are_refused(tmp_path: Path, beside: str) -> None:
    with pytest.raises(EvaluationError, match=r"r\.yaml sets preference"):
        own(tmp_path, ROW, beside=beside)


def test_log_loss_is_that_of_scikit_learn() -> None:
    draw = np.random.default_rng(3)
    scores = draw.normal(0, 3, (60, 3))
    gold = draw.integers(0, 3, 60)
    found = [
        marks.preference({"gold": int(right)}, [(float(one), False) for one in row])
        for row, right in zip(scores, gold, strict=True)
    ]
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    expected = log_loss(gold, shares, labels=[0, 1, 2])
    assert np.mean([one["log_loss"] for one in found]) == pytest.approx(expected, abs=1e-9)
    assert np.mean([one["acc"] for one in found]) == np.mean(scores.argmax(1) == gold)


def test_an_oracle_loses_nothing_and_whoever_knows_nothing_ln_3() -> None:
    oracle = [(-100.0, False), (0.0, True), (-100.0, False)]
    assert marks.preference({"gold": 1}, oracle) == {"log_loss": 0.0, "acc": 1.0}
    unknowing = [(-5.0, False)] * 3
    assert marks.preference({"gold": 1}, unknowing)["log_loss"] == pytest.approx(math.log(3))


def test_the_oracle_checks_the_marking_of_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own(tmp_path, ROW, ROW | {"prompt": "other", "winner": "b"})
    spec = EvaluationSpec(tasks=(TaskSpec(name="judge", file=str(tmp_path / "r.jsonl")),))
    settings = Settings(cache=tmp_path / "cache")
    suite: Any = kind_of(spec).prepare(spec, settings=settings, progress=Silent())
    assert [note for note in suite.notes if "marking" in note] == []
    metric = suite.metrics("judge")["log_loss"]
    assert (metric.unit, metric.higher_is_better) == ("nats", False)


def test_a_missing_answer_and_two_columns_of_winners_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no response_b"):  # in any row
        own(tmp_path, {"prompt": "p", "response_a": "x", "response_B": "y", "winner": "a"})
    with pytest.raises(DatasetError, match="says twice who won"):
        own(tmp_path, ROW | {"winner_model_b": 1})


def test_a_letter_that_is_impossible_costs_no_more_than_scikit_learn_takes() -> None:
    marked = marks.preference({"gold": 0}, [(-math.inf, False), (-1.0, True), (-1.0, False)])
    assert marked["log_loss"] == pytest.approx(-math.log(np.finfo(float).eps))
