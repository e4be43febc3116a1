"""How sure an arm is, and how often it is right, by hand and by numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from infra.judging import reliability
from infra.suite.rows import Row


def row(likelihoods: list[float], target: int, **doc: Any) -> Row:
    return Row(
        task="t", doc_id=0, doc_hash="d", prompt_hash="p", target_hash="t", prompt="",
        continuations=[" A", " B", " C"][: len(likelihoods)], target=target, responses=[],
        truncated=False, filtered={"none": [[one, False] for one in likelihoods]},
        metrics={"acc,none": 1.0}, doc=doc,
    )  # fmt: skip


def test_the_error_is_the_mean_distance_of_sure_and_right() -> None:
    # Two rows at 0.9, one of them right; two at 0.6, both right.
    found = reliability.reliability(
        [(0, 0.9, True), (0, 0.9, False), (1, 0.6, True), (1, 0.6, True)]
    )
    assert found.error == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)
    assert (found.confidence, found.right, found.rows) == (pytest.approx(0.75), 0.75, 4)
    assert [one.rows for one in found.bins] == [0, 0, 0, 0, 0, 2, 0, 0, 2, 0]


def test_whoever_is_certain_and_right_has_no_error() -> None:
    assert reliability.reliability([(0, 1.0, True)] * 5).error == 0
    assert reliability.reliability([(0, 1.0, False)] * 5).error == 1


def test_it_is_what_numpy_makes_of_the_same_rows() -> None:
    draw = np.random.default_rng(5)
    share = draw.uniform(0.25, 1, 400)
    right = draw.uniform(size=400) < share**2
    edges = np.linspace(0, 1, 11)
    place = np.digitize(share, edges[1:-1], right=True)
    expected = sum(
        (place == b).mean() * abs(right[place == b].mean() - share[place == b].mean())
        for b in set(place.tolist())
    )
    rows = [(0, float(s), bool(r)) for s, r in zip(share, right, strict=True)]
    assert reliability.reliability(rows).error == pytest.approx(expected, abs=1e-12)


def test_a_row_gives_the_probability_of_what_it_takes() -> None:
    found = reliability._shares(row([-1.0, -1.0, -9999.0], 1), "none")
    assert found == (0, pytest.approx(0.5), False)
    assert reliability._shares(row([-1.0, float("-inf")], 0), "none") is None
    assert reliability._shares(row([-1.0, -2.0], 7), "none") is None


def test_orders_are_held_against_each_other() -> None:
    def one(order: str, question: str) -> Row:
        return row([0, 0, 0], 0, order=order, question=question, response_a="x", response_b="y")

    picks = [
        (one("ab", "kept"), 0), (one("ba", "kept"), 1),  # the same answer
        (one("ab", "first"), 0), (one("ba", "first"), 0),  # whatever comes first
        (one("ab", "tie"), 2), (one("ba", "tie"), 2),
        (one("ab", "alone"), 1),
    ]  # fmt: skip
    found = reliability.positions(picks)
    assert found is not None
    assert (found.pairs, found.agree, found.first, found.second) == (3, 2, 3, 2)
    assert reliability.positions([(row([0, 0], 0), 0)]) is None
    assert reliability.positions([(one("ab", "alone"), 1)]) is None
