"""Choices on a server that says of one token how likely it was: the one that it is made to say."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from infra.engines.forced import TOP, Malformed
from infra.scoring.batches import batches
from infra.scoring.forced_reads import steps
from infra.scoring.plan import Answer, Read, plan
from infra.scoring.tokens import pack, unpack
from tests.token_model import VOCABULARY, TokenModel

READS = [Read(pack([1, n]), (4, 20, 50)) for n in range(8)]


def ask(model: TokenModel, reads: Sequence[Read]) -> list[Answer]:
    exchange = steps("tiny", reads, seed=3)
    request = next(exchange)
    while True:
        try:
            request = exchange.send(model.answer(request))
        except StopIteration as end:
            return list(end.value)


def test_every_choice_gets_the_score_that_it_has_unforced() -> None:
    model = TokenModel()
    for read, found in zip(READS, ask(model, READS), strict=True):
        true = model.logprobs(unpack(read.prompt))
        assert found == {token: (true[token], true[token] == max(true)) for token in read.wanted}


def test_the_likeliest_choice_is_greedy_and_no_other() -> None:
    everything = [Read(pack([2, n]), tuple(range(VOCABULARY))) for n in range(3)]
    model = TokenModel()
    for read, found in zip(everything, ask(model, everything), strict=True):
        true = model.logprobs(unpack(read.prompt))
        greedy = [token for token, (_, likeliest) in found.items() if likeliest]  # type: ignore[union-attr]
        assert greedy == [token for token in range(VOCABULARY) if true[token] == max(true)]


def test_what_is_listed_beside_the_forced_token_is_not_asked_again() -> None:
    model = TokenModel()
    ask(model, READS)
    first, *others = model.requests
    assert [len(first["prompt"]), first["logit_bias"]] == [8, {"4": 10_000}]
    listed = sum(len(request["prompt"]) for request in others)
    unlisted = 0
    for read in READS:
        true = model.logprobs(unpack(read.prompt))
        likeliest = sorted(range(VOCABULARY), key=true.__getitem__)[-TOP:]
        unlisted += len({20, 50} - {*likeliest})
    assert listed == unlisted > 0
    assert {request["seed"] for request in model.requests} == {3}


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("ignores-bias", "was forced, and"),
        ("biased", "its bias counts as well"),
        ("no-tops", "the likeliest tokens are missing"),
        ("no-logprobs", "without log-probabilities"),
        ("nan", "a log-probability is nan"),
    ],
)
def test_an_answer_that_contradicts_itself_is_malformed(fault: str, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        ask(TokenModel(fault), READS)


def test_reads_that_want_the_same_share_a_request() -> None:
    others = [Read(pack([3, n]), (n,)) for n in range(3)]
    assert [len(one) for one in batches([*READS, *others], forces=True)] == [8, 1, 1, 1]
    assert [len(one) for one in batches([*READS, *others])] == [11]


def test_without_echoes_long_continuations_are_read_token_by_token() -> None:
    context, longer = pack([1, 2, 3]), pack(range(10, 22))
    pairs = [(context, longer), (context, pack([10, 9]))]
    [group], _ = plan(pairs, echoes=False)
    assert all(isinstance(item, Read) for item in group.items)
    assert len(group.items) == 12  # one a position; the first two are shared
    model = TokenModel()
    answers = {item: ask(model, [item])[0] for item in group.items if isinstance(item, Read)}
    for (_, rest), (score, _) in zip(pairs, group.scores(answers), strict=True):  # type: ignore[arg-type]
        tokens = unpack(rest)
        true = [
            model.logprobs([1, 2, 3, *tokens[:place]])[token] for place, token in enumerate(tokens)
        ]
        assert score == sum(true)
