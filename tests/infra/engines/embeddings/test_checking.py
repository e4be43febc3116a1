from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from infra.contracts.errors import EvaluationError
from infra.engines.embeddings.checking import vectors_of


def answer(*vectors: Any) -> dict[str, Any]:
    return {"data": [{"index": n, "embedding": one} for n, one in enumerate(vectors)]}


def test_vectors_are_made_as_long_as_1() -> None:
    assert vectors_of(answer([3, 4], [0, -2]), 2) == pytest.approx(np.array([[0.6, 0.8], [0, -1]]))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (answer([1, 0], [math.nan, 1]), "not finite"),
        (answer([1, 0], [math.inf, 1]), "not finite"),
        (answer([1, 0], [0, 0]), "nothing but zeros"),
        (answer([1, 0], [1, 0, 0]), "unequal dimension"),
        (answer([1], [1]), "of the shape"),
        (answer([1, 0, 0], [1, 0, 0]), "of 3 numbers, and of 2 before"),
        (answer([1, 0]), "gave vectors of texts [0]"),
        (answer([1, 0], "AACAPw=="), "gave no vectors"),
        ({"data": [{"embedding": [1, 0]}] * 2}, "gave no vectors"),
        ({"error": "no"}, "gave no vectors"),
        ([1, 0], "gave no vectors"),
    ],
)
def test_what_is_no_vector_is_refused(given: Any, says: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        vectors_of(given, 2, 2)
    assert says in caught.value.fact
