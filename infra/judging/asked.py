"""Rows of questions that are asked several times, by their question."""

from __future__ import annotations

from collections.abc import Sequence

from infra.judging.pairing import RowPair


def by_question(pairs: Sequence[RowPair]) -> list[list[RowPair]] | None:
    """Return each question's rows, in the order of repeats; none if each is asked once.

    A limit counts questions, so that all of a task are asked equally often.
    """
    if not any(pair.baseline.repeat for pair in pairs):
        return None
    found: dict[tuple[str, int], list[RowPair]] = {}
    for pair in pairs:
        found.setdefault((pair.baseline.task, pair.baseline.doc_id), []).append(pair)
    return [*found.values()]
