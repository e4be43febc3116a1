"""A server that does not honour forced tokens contradicts itself, and is found out."""

from __future__ import annotations

from typing import Any

import pytest

from infra.engines.forced import TOP
from infra.engines.proof import Unproved, proof, prove
from tests.token_model import TokenModel

TEXT = [11, 3, 40, 8, 25, 9, 31]


def look(model: TokenModel, **options: Any) -> None:
    prove(proof("tiny", TEXT, **options), model.answer)


@pytest.mark.parametrize("top", [TOP, 5, 1])
def test_a_truthful_server_passes(top: int) -> None:
    model = TokenModel()
    look(model, top=top)
    assert 8 <= len(model.requests) <= 20
    assert {request["model"] for request in model.requests} == {"tiny"}
    assert all(request["temperature"] == 0 for request in model.requests)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("ignores-bias", r"token \d+ was forced, and \d+ generated"),
        ("biased", r"the log-probability of token \d+ is -\S+, but 0.0000 where it is forced"),
        ("no-logprobs", "it comes without log-probabilities"),
        ("no-tops", "comes without the likeliest tokens"),
        ("nan", "a log-probability is nan"),
        ("other-token", "what was generated is not what is listed as the likeliest there"),
        ("shifted", "what was generated is not what is listed as the likeliest there"),
        ("drops-last", "the last token of a prompt changes nothing"),
        ("drops-prompt", "different prompts got the same answer"),
        ("above-one", "probabilities of different tokens come to"),
        ("by-chance", "a prompt got another answer alone than beside others"),
        ("mixed-up", "a prompt got another answer alone than beside others"),
        ("adds-bos", "a prompt of 7 tokens was read as 8"),
        ("lists-its-own", "its list is not that of the model"),
        ("biased-list", "its list is not that of the model"),
        ("by-text", "it names tokens by their text, which several may share"),
    ],
)
def test_a_server_that_lies_is_found_out(fault: str, says: str) -> None:
    with pytest.raises(Unproved, match=says) as caught:
        look(TokenModel(fault))
    assert caught.value.answer is not None or "forced" in str(caught.value)


def test_an_answer_of_another_shape_is_no_proof() -> None:
    for answer in ({}, {"choices": []}, [], {"choices": [{"index": 0, "logprobs": {}}]}):
        with pytest.raises(Unproved, match="a completion cannot be used"):
            prove(proof("tiny", TEXT), lambda body, said=answer: said)


def test_an_error_of_whoever_asks_is_its_own() -> None:
    def ask(body: dict[str, Any]) -> Any:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        prove(proof("tiny", TEXT), ask)
