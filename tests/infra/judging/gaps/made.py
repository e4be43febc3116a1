"""Rows with choices, made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from infra.judging.gaps.reading import ChoiceRow
from infra.judging.pairing import RowPair
from infra.suite.rows import Row


def row(
    likelihoods: Sequence[float],
    target: Any,
    *,
    metric: str = "acc",
    texts: Sequence[str] | None = None,
    number: int = 0,
    **marks: float,
) -> Row:
    """Return a row as one arm answered it, its marks given by name."""
    continuations = texts or [f" {letter}" for letter in "ABCDEFGHIJ"[: len(likelihoods)]]
    return Row(
        task="t", doc_id=number, doc_hash=f"d{number}", prompt_hash="p", target_hash="t",
        prompt="?", continuations=list(continuations), target=target, responses=[],
        truncated=False, filtered={"none": [[one, False] for one in likelihoods]},
        metrics={f"{name},none": mark for name, mark in (marks or {metric: 0.0}).items()},
        doc={"question": f"Question {number}"},
    )  # fmt: skip


def pair(
    baseline: Sequence[float],
    candidate: Sequence[float],
    target: Any,
    marks: tuple[float, float],
    **options: Any,
) -> RowPair:
    """Return a row as both arms answered it, marked by `acc` if no metric is named."""
    name = options.pop("metric", "acc")
    one, other = (
        row(worth, target, **{name: mark}, **options)
        for worth, mark in zip((baseline, candidate), marks, strict=True)
    )
    return RowPair(one, other)


def choice_row(
    baseline: Sequence[float], candidate: Sequence[float], right: int | None, number: int = 0
) -> ChoiceRow:
    """Return a row with what its choices are worth; none is marked right if none is said to be."""

    def marked(worth: Sequence[float]) -> bool:
        return right is not None and worth.index(max(worth)) == right

    return ChoiceRow(
        row=row(baseline, right, number=number), baseline=tuple(baseline),
        candidate=tuple(candidate), right=None if right is None else frozenset({right}),
        was_right=marked(baseline), is_right=marked(candidate),
    )  # fmt: skip
