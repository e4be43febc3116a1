"""Reading from a server of our own on loopback that misbehaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra.contracts.errors import ServerUnverified
from infra.probes.fidelity.positions import Positions
from infra.probes.fidelity.reading import read
from tests.infra.suite.harness.completions_server import Completions, Drop, Status, serving

TEXTS = [[5, 1, 2, 3], [7, 2], [4] * 2048]


def listed(text: list[int]) -> list[Any]:
    """What an engine writes: the text's own token first, then the likeliest in their order."""
    entry = {"logprob": -0.25, "rank": 1, "decoded_token": "a"}
    second = {"logprob": -1.75, "rank": 2, "decoded_token": "b"}
    last = {"logprob": -7.5, "rank": 40, "decoded_token": "c"}
    there: list[dict[str, Any]] = [
        {"1": entry, "2": second} if token == 1
        else {"2": second, "1": entry} if token == 2
        else {str(token): last, "1": entry, "2": second}
        for token in text[1:]
    ]  # fmt: skip
    return [None, *there]


@pytest.fixture
def server() -> Iterator[Completions]:
    running = Completions()

    def change(answer: dict[str, Any]) -> Any:
        for choice, text in zip(answer["choices"], running.requests[-1]["prompt"], strict=True):
            choice["prompt_logprobs"] = listed(text)
        return {"choices": answer["choices"][::-1]}

    running.change = change
    with serving(running):
        yield running


def test_positions_are_put_together(server: Completions) -> None:
    progress: list[int] = []
    found = read(server, TEXTS, 2, "here", progress.append)
    assert found.own[:4].tolist() == [-0.25, -1.75, -7.5, -1.75]
    assert found.ids.tolist() == [[1, 2]] * (3 + 1 + 2047)
    assert found.logprobs[0].tolist() == [-0.25, -1.75]
    assert found.lengths.tolist() == [4, 2, 2048]
    assert found.origin == "here"
    assert progress == [2, 3]  # a long text travels alone
    assert {body["prompt_logprobs"] for body in server.requests} == {2}
    assert Positions.of(TEXTS, found.own, found.ids, found.logprobs, origin="").texts == found.texts


@pytest.mark.parametrize(
    "trouble",
    [
        lambda number, body: Status(500) if number == 2 else None,
        lambda number, body: Drop() if number == 2 else None,
    ],
)
def test_a_server_that_fails_is_said_without_its_key(
    server: Completions, trouble: Callable[..., Any]
) -> None:
    server.trouble = trouble
    with pytest.raises(ServerUnverified) as caught:
        read(server, TEXTS, 2, "here", lambda done: None)
    print(caught.value)
    assert server.api_key.get_secret_value() not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        [None, {}, {}, {}],
        [None, {"1": {"logprob": None}}],
        [None, {"1": {"logprob": -1.0}}],
        [None, *[{"1": {"logprob": -1e300}, "2": {"logprob": -1.0}, "3": {"logprob": -1.0}}] * 3],
    ],
)
def test_an_answer_of_another_shape_is_said(server: Completions, wrong: Any) -> None:
    def change(answer: dict[str, Any]) -> Any:
        return {"choices": [{**choice, "prompt_logprobs": wrong} for choice in answer["choices"]]}

    server.change = change
    with pytest.raises(ServerUnverified):
        read(server, TEXTS[:1], 2, "here", lambda done: None)
