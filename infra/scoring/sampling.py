"""Seeds of answers that are drawn by chance: one for each time that a document is asked the same.

A server that draws every answer with one seed gives n equal ones to n equal questions, and favours
the same tokens in the answers to different ones, which then are not independent. Here a seed is a
function of the run's seed, the document, and how often it was asked this before: both arms draw
with the same, a killed run goes on with the same, and more repeats begin with those of fewer.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

Document: TypeAlias = tuple[str, int]
"""Task and number of the document."""

_BITS = 31
"""Of a seed: llama.cpp takes 32, and the largest of them for "any"."""


def is_sampled(given: Mapping[str, Any]) -> bool:
    """Return whether an answer is drawn by chance, by the settings of its request."""
    try:
        return float(given.get("temperature") or 0) > 0
    except (TypeError, ValueError):
        return False  # as it stands there, for the server to refuse


def seeds(requests: Iterable[Any], base: int) -> list[int | None]:
    """Return the seed of each request to write a text; none where nothing is drawn by chance.

    Args:
        requests: lm-eval's, in the order of the task. Equal ones of one document get a seed each.
        base: The run's seed. One that stands in the request's own settings takes its place.
    """
    before: Counter[tuple[Document, str, str]] = Counter()
    found: list[int | None] = []
    for request in requests:
        prompt, given = request.args[:2]
        if not is_sampled(given):
            found.append(None)
            continue
        same = (document_of(request), prompt, repr(given))
        found.append(seed_of(given.get("seed", base), same[0], before[same]))
        before[same] += 1
    return found


def seed_of(base: object, document: Document, number: int) -> int:
    """Return the seed with which a document is answered.

    Args:
        base: The run's.
        document: Of the task as it stands, whichever of its documents are asked.
        number: How often it was asked the same before.
    """
    digest = hashlib.sha256(repr((base, *document, number)).encode()).digest()
    return int.from_bytes(digest[:8]) >> (64 - _BITS)


def document_of(request: Any) -> Document:
    """Return task and document of a request, whichever asking of the document it is."""
    number = getattr(request, "question", None)
    return str(request.task_name), int((request.doc_id if number is None else number) or 0)


def turn_of(request: Any) -> int:
    """Return which asking of a document a request belongs to, where each is marked by itself."""
    return int(getattr(request, "turn", 0))
