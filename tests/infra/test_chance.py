"""Guessing is told from knowing."""

from __future__ import annotations

from typing import Any

import pytest

from infra.chance import chance_of, recovery
from infra.pairing import Row


def _row(choices: int) -> Row:
    filtered: Any = [[-float(n), False] for n in range(choices)] if choices else ["7"]
    return Row(
        task="t", doc_id=0, doc_hash="d", prompt_hash="p", target_hash="t", prompt="?",
        continuations=[], target="7", responses=[], truncated=False,
        filtered={"none": filtered}, metrics={}, doc={},
    )  # fmt: skip


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


def test_recovery() -> None:
    assert recovery(0.6, 0.3) == pytest.approx(0.5)
    assert recovery(0.6, 0.3, 0.25) == pytest.approx(1 / 7)
    assert recovery(0.6, 0.2, 0.25) == pytest.approx(-1 / 7)
    assert recovery(0.25, 0.3, 0.25) is None
    assert recovery(0.0, 0.0) is None
