from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from lm_eval.models.openai_completions import LocalCompletionsAPI

from infra.engines.forced import Malformed
from infra.scoring.plan import Echo, Read
from infra.scoring.protocol import (
    Generation,
    Question,
    body,
    can_read,
    probe,
    replies,
    wanted_by,
)
from infra.scoring.tokens import pack, unpack
from tests.infra.suite.harness.completions_server import LIKELIEST, Completions, logprob

READS: list[Question] = [Read(pack([5, 6]), (1, 9)), Read(pack([7]), (2, 9))]
ECHOES: list[Question] = [Echo(pack([5, 6, 7]), 1), Echo(pack([8, 9]), 1)]
TEXTS: list[Question] = [Generation(pack([5]), '{"max_tokens": 3, "stop": ["\\n"]}')]


def answer_to(questions: list[Question], server: Completions | None = None) -> Any:
    server = server or Completions()
    return json.loads(json.dumps(server.complete(body("tiny", questions, seed=3))))


# --- what is sent --------------------------------------------------------------------------


def test_reads_ask_for_all_their_tokens_by_number() -> None:
    assert body("tiny", READS, seed=3) == {
        "model": "tiny",
        "prompt": [[5, 6], [7]],
        "temperature": 0,
        "max_tokens": 1,
        "seed": 3,
        "logprobs": 3,
        "logprob_token_ids": [1, 2, 9],
        "return_tokens_as_token_ids": True,
    }
    assert wanted_by(ECHOES) == []


def test_an_echo_is_requested_as_stock_does() -> None:
    stock = LocalCompletionsAPI(
        base_url="http://127.0.0.1:9/v1/completions", model="tiny", tokenizer_backend=None
    )
    assert body("tiny", ECHOES, seed=3) == stock._create_payload([[5, 6, 7], [8, 9]], seed=3)


def test_a_generation_carries_its_settings() -> None:
    assert body("tiny", TEXTS, seed=3) == {
        "model": "tiny", "prompt": [[5]], "max_tokens": 3, "stop": ["\n"]
    }  # fmt: skip


# --- what comes back -----------------------------------------------------------------------


def test_a_read_returns_the_tokens_it_wants_and_no_others() -> None:
    found = answer_to(READS)
    found["choices"].reverse()  # the index counts, not the place
    for choice in found["choices"]:
        choice["logprobs"]["top_logprobs"][0]["token_id:0"] = -0.5
    assert replies(READS, found) == [
        {token: (logprob(prompt, token), logprob(prompt, token) == LIKELIEST) for token in wanted}
        for prompt, wanted in (([5, 6], (1, 9)), ([7], (2, 9)))
    ]


@pytest.mark.parametrize(
    ("value", "best", "greedy"), [(-0.5, -0.5, True), (-0.25, -0.5, True), (-0.75, -0.5, False)]
)
def test_a_token_as_likely_as_the_generated_one_is_greedy(
    value: float, best: float, greedy: bool
) -> None:
    logprobs = {"token_logprobs": [best], "top_logprobs": [{"token_id:1": value}]}
    found = {"choices": [{"index": 0, "logprobs": logprobs}]}
    assert replies([Read(pack([5]), (1,))], found) == [{1: (value, greedy)}]


def test_an_echo_is_read_as_stock_reads_it() -> None:
    questions: list[Question] = [
        Echo(pack(list(range(n, n + n % 7 + 2))), n % (n % 7 + 2) or 1) for n in range(60)
    ]
    found = answer_to(questions)
    ours = replies(questions, found)
    starts = [question.start for question in questions if isinstance(question, Echo)]
    tokens = [unpack(question.prompt) for question in questions]
    assert ours == LocalCompletionsAPI.parse_logprobs(found, tokens=tokens, ctxlens=starts)
    assert {greedy for _, greedy in ours} == {True, False}  # type: ignore[misc]


def test_an_echo_does_not_count_the_generated_token() -> None:
    found = answer_to([ECHOES[0]])
    found["choices"][0]["logprobs"]["token_logprobs"][-1] = -99.0
    expected = [logprob([5], 6), logprob([5, 6], 7)]
    assert replies([ECHOES[0]], found) == [(sum(expected), set(expected) == {LIKELIEST})]


def test_an_echo_of_another_length_than_the_prompt_is_no_answer() -> None:
    found = answer_to([ECHOES[0]])
    for name in ("token_logprobs", "top_logprobs"):
        del found["choices"][0]["logprobs"][name][0]  # as if the server had cut the prompt
    with pytest.raises(Malformed, match="3 log-probabilities for 3 tokens and one generated"):
        replies([ECHOES[0]], found)


def test_a_generation_returns_text_and_why_it_ended() -> None:
    server = Completions(reply=lambda prompt: "ja", finish_reason="length")
    assert replies(TEXTS, answer_to(TEXTS, server)) == [("ja", "length")]
    assert replies(TEXTS, {"choices": [{"index": 0, "text": None}]}) == [(None, None)]


def spoilt(questions: list[Question], *path: Any, value: Any = "gone") -> Any:
    found = copy.deepcopy(answer_to(questions))
    at = found
    for step in path[:-1]:
        at = at[step]
    if value == "gone":
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return found


LOGPROBS = ("choices", 1, "logprobs")


@pytest.mark.parametrize("value", [None, float("nan"), float("-inf"), "-1.0", {}])
@pytest.mark.parametrize(
    ("questions", "path"),
    [
        (READS, (*LOGPROBS, "top_logprobs", 0, "token_id:9")),
        (READS, (*LOGPROBS, "token_logprobs", 0)),
        (ECHOES, (*LOGPROBS, "token_logprobs", 1)),
    ],
    ids=["read", "likeliest", "echo"],
)
def test_a_number_that_is_none_is_no_answer(
    questions: list[Question], path: tuple[Any, ...], value: Any
) -> None:
    with pytest.raises(Malformed, match="a log-probability is"):
        replies(questions, spoilt(questions, *path, value=value))


@pytest.mark.parametrize(
    ("questions", "path", "value"),
    [
        (READS, ("choices",), "gone"),
        (READS, ("choices", 1), "gone"),
        (READS, ("choices", 1, "index"), 0),
        (READS, ("choices", 1, "index"), []),
        (READS, LOGPROBS, None),
        (READS, (*LOGPROBS, "top_logprobs"), []),
        (READS, (*LOGPROBS, "top_logprobs", 0), None),
        (READS, (*LOGPROBS, "top_logprobs", 0, "token_id:9"), "gone"),
        (ECHOES, LOGPROBS, None),
        (ECHOES, (*LOGPROBS, "token_logprobs", 1), "gone"),
        (ECHOES, (*LOGPROBS, "top_logprobs", 1), "gone"),
        (ECHOES, (*LOGPROBS, "top_logprobs", 1), {}),
        (ECHOES, (*LOGPROBS, "top_logprobs", 1), None),
        (TEXTS, ("choices", 0, "text"), "gone"),
    ],
)
def test_an_answer_of_another_shape_is_no_answer(
    questions: list[Question], path: tuple[Any, ...], value: Any
) -> None:
    with pytest.raises(Malformed):
        replies(questions, spoilt(questions, *path, value=value))


@pytest.mark.parametrize("answer", [None, [], "no", {"choices": None}, {"choices": [None]}])
def test_an_answer_that_is_none_is_no_answer(answer: Any) -> None:
    with pytest.raises(Malformed):
        replies(READS, answer)


# --- what the server can do ----------------------------------------------------------------


@pytest.mark.parametrize("reads", [True, False])
def test_the_probe_tells_whether_chosen_tokens_are_read(reads: bool) -> None:
    sent = probe("tiny")
    assert sent["prompt"] == [[1]]
    assert can_read(Completions(reads=reads).complete(sent)) is reads
