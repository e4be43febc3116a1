"""What an embedding server answers has to be: one finite vector a text, in the order of texts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from infra.contracts.errors import EvaluationError

Vectors = NDArray[np.float32]
"""One vector a row, of length 1."""

_SHOWN = 200


def vectors_of(answer: Any, texts: int, dimension: int | None = None) -> Vectors:
    """Return the vectors that a server answered, each of length 1, in the order of the texts.

    Args:
        answer: Of `/v1/embeddings`, as JSON.
        texts: How many were sent.
        dimension: Of vectors that it gave before; none if it gave none.

    Raises:
        EvaluationError: A vector is missing, not finite, without direction, or of another
            dimension than others.
    """
    try:
        entries = {int(one["index"]): one["embedding"] for one in answer["data"]}
        if len(entries) != len(answer["data"]) or sorted(entries) != list(range(texts)):
            raise wrong(f"gave vectors of texts {sorted(entries)} where {texts} were sent", answer)
        found = np.array([entries[number] for number in range(texts)], dtype=np.float64)
    except (LookupError, TypeError, ValueError):
        raise wrong("gave no vectors, or some of unequal dimension", answer) from None
    if found.ndim != 2 or found.shape[1] < 2:
        raise wrong(f"gave vectors of the shape {found.shape}", answer)
    if dimension is not None and found.shape[1] != dimension:
        raise wrong(f"gave vectors of {found.shape[1]} numbers, and of {dimension} before", answer)
    if not np.isfinite(found).all():
        raise wrong("gave vectors with numbers that are not finite", answer)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise wrong("gave a vector of nothing but zeros", answer)
    return np.asarray(found / lengths, dtype=np.float32)


def wrong(what: str, answer: object) -> EvaluationError:
    """Return the error for an answer that is none."""
    return EvaluationError(
        f"The embedding server {what}: {str(answer)[:_SHOWN]}",
        cause="The model is none that embeds texts, or what answers is no such server.",
        remedy="Set evaluation.embedding to a model or an endpoint for embeddings.",
    )
