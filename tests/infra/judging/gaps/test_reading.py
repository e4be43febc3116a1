"""Which rows have gaps, and what they are."""

from __future__ import annotations

from typing import Any

import pytest

from infra.judging.gaps.reading import ahead, choice_rows
from infra.judging.pairing import RowPair
from tests.infra.judging.gaps.made import pair


def one(*of: Any, **options: Any) -> Any:
    rows, left_out = choice_rows([pair(*of, **options)], options.get("metric", "acc") + ",none")
    return rows[0] if rows else left_out


def test_gaps_of_both_arms() -> None:
    row = one([-1.0, -3.5, -1.25], [-2.0, -3.0, -1.5], 0, (1.0, 0.0))
    assert (row.gap, row.candidate_gap, row.kept_gap) == (0.25, 0.5, -0.5)
    assert (ahead(row.baseline, row.right), ahead(row.candidate, row.right)) == (0.25, -0.5)
    assert (row.right, row.outcome) == (frozenset({0}), "lost")


def test_the_gap_is_that_of_the_metric_that_is_judged() -> None:
    texts = [" four", " twelve chars"]
    row = one([-4.0, -9.0], [-8.0, -9.0], 1, (1.0, 1.0), metric="acc_norm", texts=texts)
    assert row.baseline == pytest.approx((-1.0, -0.75))
    assert row.gap == pytest.approx(0.25)
    assert row.candidate_gap == pytest.approx(1.25)


@pytest.mark.parametrize(("candidate", "target", "marks", "outcome"), [
    ([-1.0, -2.0, -3.0], 0, (1.0, 1.0), "kept"),
    ([-3.0, -2.0, -1.0], 0, (1.0, 0.0), "lost"),
    ([-3.0, -2.0, -1.0], 2, (0.0, 1.0), "gained"),
    ([-3.0, -2.0, -1.0], 1, (0.0, 0.0), "changed"),
    ([-3.0, -2.0, -1.0], [0, 2], (1.0, 1.0), "changed"),
])  # fmt: skip
def test_what_became_of_a_row(
    candidate: list[float], target: Any, marks: tuple[float, float], outcome: str
) -> None:
    assert one([-1.0, -2.0, -3.0], candidate, target, marks).outcome == outcome


@pytest.mark.parametrize(("candidate", "marks", "right"), [
    ([-1.0, -2.0], (1.0, 1.0), {0}),
    ([-1.0, -2.0], (0.0, 0.0), {1}),
    ([-2.0, -1.0], (0.0, 1.0), {1}),
])  # fmt: skip
def test_marks_give_away_what_a_target_does_not_name(
    candidate: list[float], marks: tuple[float, float], right: set[int]
) -> None:
    """As with winogrande, where one continuation follows two contexts."""
    row = one([-1.0, -2.0], candidate, "the end", marks, texts=[" the end", " the end"])
    assert row.right == right


def test_of_many_choices_marks_may_not_give_it_away() -> None:
    row = one([-1.0, -2.0, -3.0], [-1.0, -2.0, -3.0], "?", (0.0, 0.0))
    assert row.right is None
    assert row.gap == 1.0


@pytest.mark.parametrize("of", [
    ([-1.0, -2.0], [-1.0, -2.0], 0, (0.5, 0.5)),  # a share of probability (truthfulqa_mc2)
    ([-1.0, -2.0], [-1.0, -2.0], 0, (1.0, 0.0)),  # marked in two ways
    ([-1.0], [-1.0], 0, (1.0, 1.0)),
    ([-1.0, -2.0], [-1.0, -2.0, -3.0], 0, (1.0, 1.0)),
    ([-1.0, float("-inf")], [-1.0, -2.0], 0, (1.0, 1.0)),
])  # fmt: skip
def test_rows_whose_marks_do_not_follow_are_left_out(of: Any) -> None:
    good = [pair([-1.0, -2.0], [-1.0, -2.0], 0, (1.0, 1.0)) for _ in range(2)]
    rows, left_out = choice_rows([*good, pair(*of)], "acc,none")
    assert (len(rows), left_out) == (2, 1)


def test_where_most_are_left_out_the_metric_is_another() -> None:
    pairs = [pair([-1.0, -2.0], [-1.0, -2.0], 0, (0.4, 0.4))] * 2
    pairs += [pair([-1.0, -2.0], [-1.0, -2.0], 0, (1.0, 1.0))]
    assert choice_rows(pairs, "acc,none") == ([], 0)


@pytest.mark.parametrize("metric", ["exact_match,none", "brier_score,none", "f1,none"])
def test_other_metrics_have_no_gaps(metric: str) -> None:
    made: list[RowPair] = [pair([-1.0, -2.0], [-1.0, -2.0], 0, (1.0, 1.0))]
    assert choice_rows(made, metric) == ([], 0)
