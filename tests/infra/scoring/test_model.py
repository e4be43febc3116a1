from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model
from lm_eval.models.openai_completions import LocalCompletionsAPI

from infra.contracts.errors import EvaluationError
from infra.scoring.model import AssayCompletions
from tests.infra.scoring import cases
from tests.infra.scoring.cases import Made
from tests.infra.scoring.checking_client import WINDOW, likely, long, requests
from tests.infra.suite.harness.completions_server import Completions, serving
from tests.infra.suite.harness.conftest import Heard

pytestmark = pytest.mark.usefixtures("hasty", "nothing_left_behind")


def prompts(server: Completions) -> list[list[int]]:
    """Return the prompts that were sent, sorted and each once, without the probe."""
    return sorted(
        prompt for prompt, _ in itertools.groupby(sorted(server.prompts)) if prompt != [1]
    )


def everything(one: Any) -> list[Made]:
    return list(cases.made(lambda text: len(one.tok_encode(text)), one.max_length))


# --- as stock ------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["tokenizer", "merging_tokenizer", "bos_tokenizer"])
@pytest.mark.parametrize("reads", [True, False], ids=["reads", "echoes"])
def test_answers_are_those_of_lm_evals_own_model(
    which: str, reads: bool, model: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    options: dict[str, Any] = {"tokenizer": str(request.getfixturevalue(which))}
    options["add_bos_token"] = which == "bos_tokenizer"
    with serving(Completions(reply=likely, reads=reads, window=WINDOW)) as server:
        stock = model(server, LocalCompletionsAPI, **options)
        ours = model(server, **options)
        for made in everything(stock):
            server.requests.clear()
            theirs = getattr(stock, made.kind)(made.instances(), disable_tqdm=True)
            sent, times = prompts(server), len(server.requests)
            server.requests.clear()
            answers = getattr(ours, made.kind)(made.instances(), disable_tqdm=True)
            assert answers == theirs, made.name
            assert [type(answer) for answer in answers] == [type(answer) for answer in theirs]
            for prompt in prompts(server):
                assert any(theirs[: len(prompt)] == prompt for theirs in sent), made.name
            if made.kind == "generate_until" or (not reads and which == "tokenizer"):
                assert prompts(server) == sent, made.name
            assert len(server.requests) <= times + 1  # the probe


def test_generations_are_requested_as_stock_does(
    server: Completions, model: Callable[..., Any]
) -> None:
    stock, ours = model(server, LocalCompletionsAPI), model(server)
    written = [made for made in everything(stock) if made.kind == "generate_until"]
    given = [made.instances() for made in written]
    before = json.dumps([[request.args for request in part] for part in given])
    bodies = []
    for one, asked in ((stock, [made.instances_for_stock() for made in written]), (ours, given)):
        server.requests.clear()
        for part in asked:
            one.generate_until(part, disable_tqdm=True)
        bodies.append({json.dumps(body, sort_keys=True) for body in server.requests})
    assert bodies[0] == bodies[1]
    assert json.dumps([[request.args for request in part] for part in given]) == before


def test_an_empty_context_stands_for_bos_or_else_eos(
    server: Completions, model: Callable[..., Any], bos_tokenizer: Path
) -> None:
    for options, prefix in (
        ({}, 256),
        ({"tokenizer": str(bos_tokenizer)}, 0),
        ({"custom_prefix_token_id": 42}, 42),
    ):
        server.requests.clear()
        model(server, **options).loglikelihood(requests("loglikelihood", ("", "A")), True)
        assert server.prompts == [[1], [prefix]]


@pytest.mark.parametrize("reads", [True, False], ids=["reads", "echoes"])
def test_another_order_asks_the_same_and_answers_the_same(
    reads: bool, model: Callable[..., Any]
) -> None:
    runs = []
    with serving(Completions(reply=likely, reads=reads, window=WINDOW)) as server:
        for order in (None, "2", 2, 3):
            one = model(server, num_concurrent=1, order=order)
            answers, sent = [], []
            for made in everything(one):
                server.requests.clear()
                answers.append(getattr(one, made.kind)(made.instances(), disable_tqdm=True))
                sent.append([prompt for prompt in server.prompts if prompt != [1]])
            runs.append((answers, sent))
    plain, text, number, other = runs
    assert plain[0] == text[0] == number[0] == other[0]
    assert [sorted(part) for part in plain[1]] == [sorted(part) for part in number[1]]
    assert text[1] == number[1]
    for part in range(len(plain[1])):
        orders = {json.dumps(one[1][part]) for one in (plain, number, other)}
        assert len(orders) == 3 or len(plain[1][part]) < 4


def test_what_was_encoded_ahead_is_not_encoded_again_and_asks_the_same(
    server: Completions, model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = model(server)
    asked = [made for made in everything(ahead) if made.kind != "loglikelihood_rolling"]
    encode, encoded = AssayCompletions.tok_encode, []
    monkeypatch.setattr(
        AssayCompletions,
        "tok_encode",
        lambda self, text, **options: encoded.append(text) or encode(self, text, **options),
    )
    for made in asked:
        plain, knowing = model(server), model(server)
        knowing.encoded = ahead.encode_ahead(made.instances())
        sent = []
        for one in (plain, knowing):
            encoded.clear()
            server.requests.clear()
            getattr(one, made.kind)(made.instances(), disable_tqdm=True)
            sent.append(sorted(json.dumps(body, sort_keys=True) for body in server.requests))
        assert sent[0] == sent[1], made.name
        assert encoded == [], made.name


def test_equal_questions_are_sent_once_and_answered_each(
    server: Completions, model: Callable[..., Any]
) -> None:
    ours = model(server)
    scores = ours.loglikelihood(requests("loglikelihood", *[("Q:", " A"), ("Q:", " B")] * 5), True)
    assert scores == scores[:2] * 5
    assert scores[0] != scores[1]
    assert len(server.prompts) == 1 + 2  # the probe; after the context, after the space
    server.requests.clear()
    texts = ours.generate_until(requests("generate_until", *[("Q:", {"until": ["x"]})] * 5), True)
    assert texts == [likely(ours.tok_encode("Q:"))] * 5
    assert len(server.prompts) == 1


def test_without_questions_nothing_is_sent(server: Completions, model: Callable[..., Any]) -> None:
    ours = model(server)
    assert ours.loglikelihood([]) == ours.loglikelihood_rolling([]) == ours.generate_until([]) == []
    assert server.requests == []


def test_it_is_registered_under_its_name() -> None:
    assert get_model("assay-completions") is AssayCompletions


def test_a_text_that_is_none_is_what_stock_makes_of_it(
    server: Completions, model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.reply = lambda prompt: None  # type: ignore[assignment,return-value]
    question = requests("generate_until", ("Q:", {}))
    stock = model(server, LocalCompletionsAPI).generate_until(question)
    assert model(server).generate_until(question, True) == stock == [""]


# --- what a caller can see -----------------------------------------------------------------


def test_progress_counts_documents(server: Completions, model: Callable[..., Any]) -> None:
    ours = model(server)
    assert (ours.done, ours.total) == (0, 0)
    choices = [
        Instance("loglikelihood", {}, (f"Question {n}:", f" {letter}"), i, metadata=("quiz", n, 1))
        for n in range(7)
        for i, letter in enumerate("ABCD")
    ]
    ours.loglikelihood(choices, disable_tqdm=True)
    assert (ours.done, ours.total) == (7, 7)
    ours.loglikelihood_rolling(requests("loglikelihood_rolling", (long(2000),), ("y",)), True)
    assert (ours.done, ours.total) == (9, 9)
    ours.generate_until(requests("generate_until", ("Q:", {}), ("Q:", {}), ("R:", {})), True)
    assert (ours.done, ours.total) == (12, 12)
    assert ours.concurrency == 16
    assert ours.counts.answered == len(server.prompts) - 1 > 20  # the probe


def test_why_each_text_ended_is_kept(server: Completions, model: Callable[..., Any]) -> None:
    ours = model(server)
    for reason in ("length", "stop"):
        server.finish_reason = reason
        asked = requests("generate_until", ("Q:", {}), (f"{reason}:", {}), (f"{reason}!", {}))
        ours.generate_until([asked[0], asked[1 if reason == "length" else 2]], True)
    assert ours.finishes == {
        ("quiz", 0, 0): "stop",
        ("quiz", 1, 0): "length",
        ("quiz", 2, 0): "stop",
    }


def test_of_several_texts_of_a_document_that_counts_which_was_cut(
    server: Completions, model: Callable[..., Any]
) -> None:
    ends = iter(["stop", "length", "stop"])
    server.change = lambda answer: {
        "choices": [{**one, "finish_reason": next(ends)} for one in answer["choices"]]
    }
    ours = model(server, num_concurrent=1)
    [request] = requests("generate_until", ("Q:", {"temperature": 1}))
    ours.generate_until([request] * 3, True)
    assert ours.finishes == {("quiz", 0, 0): "length"}


def test_lm_evals_cache_of_answers_gets_each(
    server: Completions, model: Callable[..., Any]
) -> None:
    class Hook:
        def __init__(self) -> None:
            self.added: list[Any] = []

        def add_partial(self, *what: Any) -> None:
            self.added.append(what)

    ours = model(server)
    ours.set_cache_hook(hook := Hook())
    (score,) = ours.loglikelihood(requests("loglikelihood", ("Q:", " A")), True)
    (total,) = ours.loglikelihood_rolling(requests("loglikelihood_rolling", ("Q:",)), True)
    (text,) = ours.generate_until(requests("generate_until", ("Q:", {"until": ["x"]})), True)
    assert hook.added == [
        ("loglikelihood", ("Q:", " A"), score),
        ("loglikelihood_rolling", ("Q:",), total),
        ("generate_until", ("Q:", {"until": ["x"]}), text),
    ]


def test_a_bar_is_drawn_unless_it_is_switched_off(
    server: Completions, model: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    ours = model(server)
    ours.loglikelihood(requests("loglikelihood", ("Q:", " A")), disable_tqdm=True)
    assert capfd.readouterr() == ("", "")
    ours.loglikelihood(requests("loglikelihood", ("R:", " A"), ("S:", " A")))
    assert "2/2" in capfd.readouterr().err


# --- prompts that do not fit ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fits", "over"),
    [
        ("loglikelihood", (long(298), "a"), (long(299), "a")),
        ("generate_until", (long(289), {"max_gen_toks": 10}), (long(290), {"max_gen_toks": 10})),
    ],
)
def test_a_prompt_that_would_be_cut_is_reported_once_or_refused(
    kind: str,
    fits: tuple[Any, ...],
    over: tuple[Any, ...],
    server: Completions,
    model: Callable[..., Any],
    heard: Heard,
) -> None:
    cutting, refusing = model(server), model(server, refuse_cut=True)
    for one in (cutting, refusing):
        getattr(one, kind)(requests(kind, fits), True)
    assert heard.said == []
    getattr(cutting, kind)(requests(kind, fits, over, over), True)
    assert heard.said == [
        "Prompts are longer than the window and lose their beginning, the first of them that of "
        "quiz, document 1, 1 tokens."
    ]
    sent = len(server.requests)
    with pytest.raises(EvaluationError, match=r"A prompt of quiz needs .* window has 300"):
        getattr(refusing, kind)(requests(kind, fits, over), True)
    assert len(server.requests) == sent


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("loglikelihood", ("a", long(299))),
        ("generate_until", (long(9), {"max_gen_toks": 299})),
    ],
)
def test_what_leaves_nothing_of_the_prompt_is_refused(
    kind: str, given: tuple[Any, ...], server: Completions, model: Callable[..., Any]
) -> None:
    with pytest.raises(EvaluationError, match="A prompt of quiz needs"):
        getattr(model(server), kind)(requests(kind, given), True)
    assert server.requests == []
