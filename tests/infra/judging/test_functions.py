"""Function calling is shown part by part, and by how many functions are offered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from infra.judging import statistics
from infra.judging.chance import guessing
from infra.judging.functions import calls_of
from infra.judging.pairing import RowPair
from infra.suite.rows import Row

PRIMARY = "all_right,none"


def row(number: int, offered: int, **marks: float) -> Row:
    return Row(
        task="tools", doc_id=number, doc_hash="", prompt_hash="", target_hash="", prompt="",
        continuations=[], target="", responses=[], truncated=False, filtered={},
        metrics={f"{name},none": value for name, value in marks.items()},
        doc={"offered": str(offered), "assay_asks": "tools", "question": str(number)},
    )  # fmt: skip


@pytest.fixture
def pairs() -> list[RowPair]:
    """Both arms are right with one function; with 16 the candidate loses 12 of 20 rows."""
    found = []
    for number in range(20):
        for offered, right in ((16, number >= 12), (1, True)):
            extra = {"right_final": float(right)} if number % 2 else {}
            one = row(number, offered, all_right=1.0, well_formed=1.0, **dict.fromkeys(extra, 1.0))
            found.append(
                RowPair(one, row(number, offered, all_right=right, well_formed=1, **extra))
            )
    return found


def test_a_cliff_shows_at_the_number_where_it_is(pairs: list[RowPair]) -> None:
    few, many = calls_of(pairs, PRIMARY, 0.95).offered
    assert (few.offered, few.rows, few.baseline, few.candidate) == (1, 20, 1, 1)
    assert (many.offered, many.rows, many.baseline, many.candidate) == (16, 20, 1, 0.4)
    assert many.difference == pytest.approx(-0.6)
    effect = statistics.effect_of([1.0] * 20, [0.0] * 12 + [1.0] * 8, 0.95)
    assert effect is not None and (many.low, many.high) == effect.limits
    assert many.high is not None and many.high < 0
    assert few.low is not None and few.low < 0 < (few.high or 0)


def test_a_question_that_is_asked_again_is_one(pairs: list[RowPair]) -> None:
    again = [
        RowPair(replace(pair.baseline, repeat=turn), replace(pair.candidate, repeat=turn))
        for pair in pairs
        for turn in range(3)
    ]
    _, many = calls_of(again, PRIMARY, 0.95).offered
    assert (many.rows, many.candidate) == (60, 0.4)
    limits = statistics.question_limits([-1.0] * 12 + [0.0] * 8, 0.95)
    assert (many.low, many.high) == pytest.approx(limits, abs=1e-12)


def test_a_part_is_of_the_rows_that_have_it(pairs: list[RowPair]) -> None:
    parts = {part.metric: part for part in calls_of(pairs, PRIMARY, 0.95).parts}
    assert next(iter(parts)) == "all_right"
    assert (parts["all_right"].rows, parts["all_right"].candidate) == (40, 0.7)
    assert (parts["right_final"].rows, parts["right_final"].candidate) == (20, 0.7)
    assert parts["well_formed"].candidate == 1


def test_who_calls_nothing_scores_the_rows_in_which_nothing_is_due() -> None:
    due = ("[]", "[]", '[{"name": "f"}]', '[{"name": "f"}]')
    final = ("[]", '["17"]', "[]", "[]")
    rows = [row(number, 4, all_right=1.0) for number in range(4)]
    for one, calls, answer in zip(rows, due, final, strict=True):
        one.doc.update(due=calls, final=answer)
        one.filtered["none"] = ["x"]
    assert guessing(PRIMARY, rows).chance == 0.25
    assert guessing("well_formed,none", rows).chance is None
