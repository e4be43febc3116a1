from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from infra.contracts.errors import EvaluationError, RequestFailed
from tests.infra.scoring.checking_client import KEY, WINDOW, likely, requests
from tests.infra.suite.harness.completions_server import Completions, Status, serving
from tests.infra.suite.harness.conftest import Heard

pytestmark = pytest.mark.usefixtures("hasty", "nothing_left_behind")

QUIZ = [(f"Question {number}:", f" {letter}") for number in range(9) for letter in "ABCD"]
ABOUT = {
    "/version": {"version": "0.26.0"},
    "/v1/models": {"data": [{"id": "tiny", "root": "/models/tiny", "max_model_len": WINDOW}]},
}


def answers_of(one: Any) -> list[Any]:
    """Ask one request of each kind and some choices, and close the file of answers."""
    try:
        return [
            one.loglikelihood(requests("loglikelihood", *QUIZ), True),
            one.loglikelihood_rolling(requests("loglikelihood_rolling", ("Story.",)), True),
            one.generate_until(requests("generate_until", ("Q:", {"until": ["x"]})), True),
        ]
    finally:
        one.close()


# --- servers of all kinds ------------------------------------------------------------------


def test_an_old_server_gives_echoes_and_that_is_said_once(
    server: Completions, model: Callable[..., Any], heard: Heard
) -> None:
    answers = answers_of(model(server))
    assert heard.said == []
    server.reads = False
    server.requests.clear()
    old = model(server)
    assert answers_of(old) == answers == answers_of(old)
    assert len(heard.said) == 1
    assert "logprob_token_ids" in heard.said[0]
    probes = [body for body in server.requests if "logprob_token_ids" in body]
    assert [body["prompt"] for body in probes] == [[[1]]]


def test_a_server_that_does_not_know_the_setting_is_an_old_one(
    server: Completions, model: Callable[..., Any], heard: Heard
) -> None:
    def trouble(number: int, body: dict[str, Any]) -> Status | None:
        return Status(400, "unknown fields") if "logprob_token_ids" in body else None

    answers = answers_of(model(server))
    server.trouble = trouble
    assert answers_of(model(server)) == answers
    assert len(heard.said) == 1


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_server_that_refuses_everybody_is_not_taken_for_an_old_one(
    status: int, server: Completions, model: Callable[..., Any], heard: Heard
) -> None:
    server.trouble = lambda number, body: Status(status, f"not for {KEY}")
    with pytest.raises(EvaluationError, match=r"the first question: \d+ .* not for \*\*\*") as no:
        answers_of(model(server))
    assert KEY not in f"{no.value} {vars(no.value)}"
    assert heard.said == []


def test_a_refused_prompt_is_named_with_task_and_document(
    server: Completions, model: Callable[..., Any]
) -> None:
    ours = model(server)
    refused = ours.tok_encode("Question 7:")
    server.trouble = lambda number, body: (
        Status(400, f"too long for {KEY}") if refused in body["prompt"] else None
    )
    with pytest.raises(RequestFailed) as failed:
        answers_of(ours)
    documents = {number for number, pair in enumerate(QUIZ) if pair[0] == "Question 7:"}
    assert any(f"asked quiz, document {number}: " in failed.value.fact for number in documents)
    assert failed.value.status == 400
    assert KEY not in f"{failed.value} {vars(failed.value)}"


def test_the_key_of_the_environment_is_sent_and_not_shown(
    server: Completions, model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user")
    answers_of(model(server, header=None))
    assert server.keys == {"Bearer sk-of-the-user"}
    server.trouble = lambda number, body: Status(401, "wrong key sk-of-the-user")
    with pytest.raises(EvaluationError, match=r"wrong key \*\*\*"):
        answers_of(model(server, header=None))


def test_a_server_whose_address_changes_is_found_where_it_is(
    server: Completions, model: Callable[..., Any]
) -> None:
    other = Completions(reply=likely, model="renamed", api_key=SecretStr("other"))
    with serving(other):
        assert answers_of(model(server, server=other)) == answers_of(model(server))
    assert {body["model"] for body in other.requests} == {"renamed"}
    assert other.keys == {"Bearer other"}
    assert {body["model"] for body in server.requests} == {"tiny"}


# --- answers that are kept -----------------------------------------------------------------


def test_what_was_answered_is_not_sent_again(
    server: Completions, model: Callable[..., Any], tmp_path: Path, heard: Heard
) -> None:
    options = {"answers": tmp_path / "answers.sqlite", "identity": "tiny, float32"}
    answers = answers_of(model(server, **options))
    server.requests.clear()
    again = model(server, **options)
    assert answers_of(again) == answers == answers_of(again)
    assert server.prompts == [[1]]  # the probe
    assert (again.done, again.total) == (2 * 38, 2 * 38)
    assert again.finishes == {("quiz", 0, 0): "stop"}
    assert heard.said == []


def test_a_run_that_failed_continues_where_it_stopped(
    server: Completions, model: Callable[..., Any], tmp_path: Path
) -> None:
    answers = answers_of(model(server))
    server.requests.clear()
    options = {"answers": str(tmp_path / "answers.sqlite"), "identity": "tiny", "num_concurrent": 1}
    server.fail_after = 9  # the probe is the first
    with pytest.raises(EvaluationError, match="no room in the cache"):
        answers_of(model(server, **options))
    answered = server.prompts[:8]
    server.fail_after = None
    server.requests.clear()
    again = model(server, **options)
    assert answers_of(again) == answers
    assert not [prompt for prompt in server.prompts if prompt in answered[1:]]
    assert (again.done, again.total) == (38, 38)


def test_the_number_of_documents_that_are_done_already_counts_at_once(
    server: Completions, model: Callable[..., Any], tmp_path: Path
) -> None:
    options = {"answers": tmp_path / "answers.sqlite", "identity": "tiny"}
    one = model(server, **options)
    one.loglikelihood(requests("loglikelihood", *QUIZ[:12]), True)
    one.close()
    seen: list[tuple[int, int]] = []
    again = model(server, **options)
    server.change = lambda answer: seen.append((again.done, again.total)) or answer
    again.loglikelihood(requests("loglikelihood", *QUIZ), True)
    again.close()
    assert seen[1] == (12, 36)  # after the probe
    assert (again.done, again.total) == (36, 36)


def test_another_checkpoint_gets_none_of_the_first_ones_answers(
    server: Completions, model: Callable[..., Any], tmp_path: Path, heard: Heard
) -> None:
    options = {"answers": tmp_path / "answers.sqlite"}
    answers_of(model(server, **options, identity="one"))
    server.requests.clear()
    answers_of(model(server, **options, identity="other"))
    assert len(server.prompts) > 18
    assert len(heard.said) == 1
    assert "answers.sqlite.aside-1" in heard.said[0]


def test_a_server_without_a_key_is_reached_without_one(
    server: Completions,
    model: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server.about = ABOUT
    answers_of(model(server, header=None, answers=tmp_path / "answers.sqlite"))
    assert server.keys == {None}


def test_without_an_identity_the_server_says_who_it_is(
    server: Completions, model: Callable[..., Any], tmp_path: Path, heard: Heard
) -> None:
    server.about = ABOUT
    path = tmp_path / "answers.sqlite"
    answers_of(model(server, answers=path))
    assert server.gets == ["/version", "/v1/models"]
    with sqlite3.connect(path) as file:
        ((identity,),) = file.execute("SELECT value FROM identity")
    file.close()
    assert identity == '1 ["0.26.0", "/models/tiny", 300, "tiny"]'
    for path_changed, value in (
        ("/version", {"version": "0.27.0"}),
        ("/v1/models", {"data": [{"id": "tiny", "root": "/models/other", "max_model_len": 300}]}),
    ):
        server.about = {**ABOUT, path_changed: value}
        server.requests.clear()
        answers_of(model(server, answers=path))
        assert len(server.prompts) > 18
    assert len(heard.said) == 2


@pytest.mark.parametrize(
    "about",
    [
        {},
        {**ABOUT, "/version": {}},
        {**ABOUT, "/version": []},
        {"/version": ABOUT["/version"]},
        {**ABOUT, "/v1/models": {"data": []}},
        {**ABOUT, "/v1/models": {"data": [{"id": "other"}]}},
        {**ABOUT, "/v1/models": None},
    ],
)
def test_a_server_that_does_not_say_who_it_is_gets_no_file(
    about: dict[str, Any], server: Completions, model: Callable[..., Any], tmp_path: Path
) -> None:
    server.about = about
    with pytest.raises(EvaluationError, match="does not say what it serves") as failed:
        answers_of(model(server, answers=tmp_path / "answers.sqlite"))
    assert "identity=" in failed.value.remedy
    assert KEY not in str(failed.value)
    assert list(tmp_path.glob("answers*")) == []


# --- options -------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, "auto", "None", 0, "0"])
def test_unless_a_number_is_named_the_server_decides(
    given: Any, server: Completions, model: Callable[..., Any]
) -> None:
    assert model(server, num_concurrent=given).concurrency == 128


@pytest.mark.parametrize("given", [8, "8"])
def test_a_named_number_is_the_most_in_flight(
    given: Any, server: Completions, model: Callable[..., Any]
) -> None:
    ours = model(server, num_concurrent=given)
    answers_of(ours)
    assert ours.concurrency == 8
    assert server.most_in_hand <= 8


def test_a_number_below_one_is_refused(server: Completions, model: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="num_concurrent=-1"):
        model(server, num_concurrent=-1)


@pytest.mark.parametrize("answers", [None, "", "None"])
def test_no_file_of_answers_is_no_file(
    answers: Any, server: Completions, model: Callable[..., Any], tmp_path: Path
) -> None:
    answers_of(model(server, answers=answers))
    assert server.gets == []


@pytest.mark.parametrize("options", [{"tokenized_requests": False}, {"tokenizer_backend": None}])
def test_texts_that_are_not_tokens_are_refused(
    options: dict[str, Any], server: Completions, model: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError, match="needs a tokenizer and tokenized_requests"):
        model(server, **options)


def test_options_of_stock_are_honoured(server: Completions, model: Callable[..., Any]) -> None:
    options = {"seed": 77, "max_gen_toks": 9, "batch_size": 4, "max_retries": 1}
    answers_of(model(server, **options, device=None, max_batch_size=None))
    assert {body["seed"] for body in server.requests[1:]} == {77}
    assert server.requests[-1]["max_tokens"] == 9


def test_images_are_refused(server: Completions, model: Callable[..., Any]) -> None:
    seen = requests("generate_until", ("Q:", {}, {"visual": []}))
    with pytest.raises(EvaluationError, match="quiz asks with images"):
        model(server).generate_until(seen, True)


def test_a_context_that_cannot_be_scored_is_named_before_any_is_sent(
    server: Completions, model: Callable[..., Any]
) -> None:
    pairs = requests("loglikelihood", ("Q:", " A"), (" \n", "A"))
    with pytest.raises(EvaluationError, match=r"quiz, document 1 cannot .* whitespace alone"):
        model(server).loglikelihood(pairs, True)
    assert server.requests == []
