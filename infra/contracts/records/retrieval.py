"""What was found in documents for the questions of a task."""

from __future__ import annotations

from typing import Literal

from infra.contracts.records.record import Record


class Retrieval(Record):
    """What was found for the questions of one task: the same for all arms."""

    version: Literal[1] = 1
    task: str
    library: str
    versions: dict[str, str]
    """Package → version, of those that decide what is found."""

    embedding: str
    """Digest of all that decides a vector besides the text."""

    documents: int
    chunks: int
    chunk_size: int
    """Letters."""

    overlap: int
    """Letters."""

    top_k: int
    questions: int
    answerable: int
    """Questions that something in the documents answers."""

    recall: float | None
    """Mean share of the passages of an answerable question that were found, each whole; none if
    there is no such question."""

    cut: int
    """Passages that stand whole in no chunk, so that nothing could find them."""
