"""Guessing is distinguished from knowing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from infra.judging.chance import guessing, recovery
from infra.suite.rows import Row

LETTERS = "ABCD"


def _row(choices: int) -> Row:
    filtered: Any = [[-float(n), False] for n in range(choices)] if choices else ["7"]
    return _made("7", filtered)


def _made(
    target: Any, filtered: Any, *, task: str = "t", options: Sequence[str] = (), **metrics: float
) -> Row:
    return Row(
        task=task, doc_id=0, doc_hash="d", prompt_hash="p", target_hash="t", prompt="?",
        continuations=list(options), target=target, responses=[], truncated=False,
        filtered={"none": filtered}, metrics={f"{k},none": v for k, v in metrics.items()}, doc={},
    )  # fmt: skip


def written(targets: Sequence[Any], answers: Sequence[str] = ("x",), task: str = "t") -> list[Row]:
    return [
        _made(target, [answers[place % len(answers)]], task=task)
        for place, target in enumerate(targets)
    ]


def offered(
    keys: Sequence[Any], picks: Sequence[int], options: Sequence[str] = ("A", "B", "C", "D")
) -> list[Row]:
    return [
        _made(key, [[0.0 if place == pick else -1.0, False] for place in range(len(options))],
              options=[f" {option}" for option in options])
        for key, pick in zip(keys, picks, strict=True)
    ]  # fmt: skip


def test_what_a_kind_declares_of_each_row_counts_before_what_its_answers_look_like() -> None:
    rows = written([f"answer {number}" for number in range(8)])
    assert chance_of("right,none", rows) is None
    declared = [
        replace(row, doc={"by_chance": str(int(number % 4 == 0))})
        for number, row in enumerate(rows)
    ]
    assert chance_of("right,none", declared) == 0.25
    assert chance_of("right,none", [*declared[:7], rows[7]]) is None
    named = [replace(row, doc={"by_chance": "no number"}) for row in rows]
    assert chance_of("right,none", named) is None


def chance_of(metric: str, rows: Sequence[Row]) -> float | None:
    return guessing(metric, rows).chance


@pytest.mark.parametrize(("metric", "choices", "chance"), [
    ("acc,none", [4, 4, 4], 0.25),
    ("acc_norm,none", [2, 4], 0.375),  # the mean of 1/2 and 1/4
    ("exact_match,none", [0, 0], 0.0),
    ("acc,none", [4, 0], None),
    ("acc,other", [4, 4], None),
    ("f1,none", [4, 4], None),
    ("bleu,none", [0], None),
])  # fmt: skip
def test_chance(metric: str, choices: list[int], chance: float | None) -> None:
    assert chance_of(metric, [_row(count) for count in choices]) == chance


@pytest.mark.parametrize("metric", ["exact_match", "acc", "em", "math_verify", "f1", "score"])
@pytest.mark.parametrize(("targets", "chance"), [
    (["(A)", "B", "(C)", "a."] * 5, 0.5),
    (["A", "B", "C", "D", "B"] * 4, 0.4),
    (["Yes"] * 7 + ["no"] * 3, 0.7),
    (["True", "False"] * 10, 0.5),
    (["valid", "invalid", "invalid"] * 10, 2 / 3),
    ([0, 1, 1, 2] * 10, 0.5),
    ([str(n % 10) for n in range(50)], 0.1),
    ([["yes", "Yes", "y"], ["no"]] * 10, 0.5),  # whatever is accepted
    ([["a", "b"], ["b", "c"], ["c", "b"]] * 10, 1.0),
    ([[]] * 10 + [[str(n)] for n in range(10)], 0.5),  # no answer is one
    ([f"Step {n}.\n#### {'ABCD'[n % 4]}" for n in range(40)], 0.25),
])  # fmt: skip
def test_the_most_frequent_label_is_a_guess(metric: str, targets: list[Any], chance: float) -> None:
    assert chance_of(f"{metric},none", written(targets)) == pytest.approx(chance)


@pytest.mark.parametrize("targets", [
    [f"He has {n} + 3 = {n + 3} marbles.\n#### {n + 3}" for n in range(200)],
    [str(n % 150) for n in range(200)],
    [[f"alias {n}", f"name {n}"] for n in range(50)],
    ["A long answer.", "Another one.", "A third."],
    [None, {}],
    ["1"],
])  # fmt: skip
def test_free_answers_are_beyond_guessing(targets: list[Any]) -> None:
    assert chance_of("exact_match,none", written(targets)) == 0.0
    assert chance_of("f1,none", written(targets)) is None


def test_tasks_of_a_group_have_labels_of_their_own() -> None:
    yes_no = written(["yes"] * 18 + ["no"] * 12, task="a")
    letters = written(["(A)"] * 10 + ["(B)"] * 20, task="b")
    words = written([f"word {n}" for n in range(30)], task="c")
    assert chance_of("exact_match,none", yes_no + letters) == pytest.approx(38 / 60)
    assert chance_of("exact_match,none", yes_no + letters + words) == pytest.approx(38 / 90)


def test_the_same_labels_in_many_small_tasks_are_counted_together() -> None:
    lot = random.Random(1)
    rows = [
        row
        for task in range(57)
        for row in written([lot.choice(LETTERS) for _ in range(5)], task=f"t{task}")
    ]
    assert 0.25 < (chance_of("exact_match,none", rows) or 0) < 0.31


def test_the_same_labels_in_clearly_other_shares_are_counted_apart() -> None:
    rows = written(["yes"] * 90 + ["no"] * 10, task="a")
    rows += written(["yes"] * 10 + ["no"] * 90, task="b")
    assert chance_of("exact_match,none", rows) == pytest.approx(0.9)


def test_one_target_of_all_rows() -> None:
    """It is a guess, or nothing at all where a task marks its answers by code of its own."""
    same = [_made("yes", ["Yes."], exact_match=1.0) for _ in range(20)]
    assert chance_of("exact_match,none", same) == 1.0
    essays = [_made(0, [f"Essay {n}"], prompt_level_strict_acc=1.0) for n in range(20)]
    assert chance_of("prompt_level_strict_acc,none", essays) == 0.0


def test_a_text_that_is_read_is_no_choice() -> None:
    """As lambada's last words: one continuation, and whether it is the likeliest."""
    rows = [_made(f" word{n}", [[-1.0, True]], options=[f" word{n}"]) for n in range(30)]
    assert chance_of("acc,none", rows) == 0.0


def test_choices_that_come_twice_count_once() -> None:
    rows = [
        _made(
            0, [[-1.0, False]] * 8, options=[f" {n} {o}" for o in "wxyz"] * 2, acc_mutual_info=1.0
        )
        for n in range(4)
    ]
    assert chance_of("acc_mutual_info,none", rows) == chance_of("acc,none", rows) == 0.25


@pytest.mark.parametrize("keys", [[1] * 62 + [0] * 38, ["yes"] * 62 + ["no"] * 38])
def test_a_choice_that_is_right_most_of_the_time_is_a_guess(keys: list[Any]) -> None:
    rows = offered(keys * 3, [0, 1] * 150, ["no", "yes"])
    assert chance_of("acc,none", rows) == pytest.approx(0.62)
    texts = [_made(key, row.filtered["none"], options=[f" a{n}", f" b{n}"])
             for n, (key, row) in enumerate(zip([1] * 300, rows, strict=True))]  # fmt: skip
    assert chance_of("acc,none", texts) == 0.5  # no model knows which place is the right one


def test_who_always_answers_the_same_knows_nothing_however_the_rows_fall() -> None:
    """26 of 72 by luck: above one in four, and more than chance explains by itself."""
    keys = ["B"] * 26 + ["A"] * 17 + ["C"] * 15 + ["D"] * 14
    found = guessing("acc,none", offered(keys, [1] * 72))
    assert (found.chance, found.luck) == (0.25, 1.0)
    lot = random.Random(2)
    nearly = [1 if lot.random() < 0.9 else lot.randrange(4) for _ in keys]
    assert (guessing("acc,none", offered(keys, nearly)).luck or 0) > 0.05
    able = [LETTERS.index(key) if lot.random() < 0.4 else lot.randrange(4) for key in keys]
    assert (guessing("acc,none", offered(keys, able)).luck or 1) < 0.01


def test_luck_has_its_level() -> None:
    lot, below = random.Random(5), 0
    for _ in range(400):
        keys = [lot.choice("AABC") for _ in range(60)]
        picks = [lot.choice([0, 0, 0, 1, 2, 3]) for _ in keys]
        below += (guessing("acc,none", offered(keys, picks)).luck or 0) < 0.05
    assert below < 0.08 * 400


def test_recovery() -> None:
    assert recovery(0.6, 0.3) == pytest.approx(0.5)
    assert recovery(0.6, 0.3, 0.25) == pytest.approx(1 / 7)
    assert recovery(0.6, 0.2, 0.25) == pytest.approx(-1 / 7)
    assert recovery(0.25, 0.3, 0.25) is None
    assert recovery(0.0, 0.0) is None
