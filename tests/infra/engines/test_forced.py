from __future__ import annotations

from typing import Any

import pytest

from infra.engines.forced import BIAS, Malformed, Position, body, positions

CHAT: dict[str, Any] = {
    "content": [
        {"id": 5, "token": "x", "logprob": -2.5,
         "top_logprobs": [{"id": 7, "token": "y", "logprob": -0.5}]}
    ]
}  # fmt: skip
COLUMNS: dict[str, Any] = {
    "tokens": ["token_id:5"],
    "token_logprobs": [-2.5],
    "top_logprobs": [{"token_id:7": -0.5, "token_id:5": -2.5}],
}


def answer(*logprobs: Any) -> dict[str, Any]:
    return {"choices": [{"index": i, "logprobs": one} for i, one in enumerate(logprobs)]}


def test_what_is_sent() -> None:
    assert body("tiny", [(1, 2), (3,)], token=9, top=4, seed=7) == {
        "model": "tiny", "prompt": [[1, 2], [3]], "temperature": 0, "max_tokens": 1, "seed": 7,
        "logprobs": 4, "return_tokens_as_token_ids": True, "logit_bias": {"9": BIAS},
    }  # fmt: skip
    assert "logit_bias" not in body("tiny", [(1,)])


def test_both_shapes_say_the_same() -> None:
    [[chat], [columns]] = positions(answer(CHAT, COLUMNS), 2)
    assert chat == Position(5, -2.5, {7: -0.5})
    assert chat.known() == columns.known() == {5: -2.5, 7: -0.5}
    assert chat.best == columns.best == -0.5


def test_answers_come_in_the_order_of_prompts() -> None:
    given = answer(CHAT, COLUMNS)
    given["choices"].reverse()
    assert positions(given, 2) == positions(answer(CHAT, COLUMNS), 2)


@pytest.mark.parametrize(
    ("logprobs", "says"),
    [
        (None, "without log-probabilities"),
        ({}, "KeyError"),
        ({"content": [{"id": 5, "logprob": None, "top_logprobs": []}]}, "is None"),
        ({"content": [{"id": 5, "logprob": float("inf"), "top_logprobs": []}]}, "is inf"),
        ({"content": [{"id": 5, "logprob": True, "top_logprobs": []}]}, "is True"),
        ({"content": [{"id": 5, "logprob": -3.4028e38, "top_logprobs": []}]}, "fell below"),
        ({"content": [{"logprob": -1.0, "top_logprobs": []}]}, "KeyError"),
        ({**COLUMNS, "tokens": ["x"]}, "by their text"),
        ({**COLUMNS, "token_logprobs": []}, "zip"),
    ],
)
def test_what_does_not_fit_is_malformed(logprobs: Any, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        positions(answer(logprobs), 1)


def test_a_missing_choice_is_malformed() -> None:
    with pytest.raises(Malformed, match="KeyError: 1"):
        positions(answer(CHAT), 2)
