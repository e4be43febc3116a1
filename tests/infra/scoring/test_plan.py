from __future__ import annotations

import random
from collections.abc import Sequence

from infra.scoring.plan import MAX_WANTED, Answer, Echo, Group, Item, Read, items_of, plan
from infra.scoring.protocol import Reply, replies
from infra.scoring.tokens import count, pack, unpack
from tests.infra.suite.harness.completions_server import Completions, logprob

CONTEXT = list(range(100, 200))
A, B, C, D = 1, 2, 3, 4


def items(
    continuations: Sequence[Sequence[int]],
    *,
    context: Sequence[int] = CONTEXT,
    cached: int = 0,
    reads: bool = True,
) -> list[tuple[list[int], object]]:
    """Return prompts beyond the context, and what is wanted there: tokens, or "echo"."""
    planned = items_of(pack(context), [pack(each) for each in continuations], cached, reads=reads)
    return [
        (
            unpack(item.prompt)[len(context) :],
            item.wanted if isinstance(item, Read) else "echo",
        )
        for item in planned
    ]


# --- tree or echo --------------------------------------------------------------------------


def test_four_choices_of_one_token_are_one_read() -> None:
    assert items([[A], [B], [C], [D]]) == [([], (A, B, C, D))]


def test_choices_that_share_first_tokens_share_their_reads() -> None:
    # 9 is what "(A" and "(B" begin with.
    assert items([[9, A], [9, B], [8]]) == [([], (8, 9)), ([9], (A, B))]


def test_a_continuation_that_another_begins_with_costs_nothing_more() -> None:
    assert items([[A], [A, B], [A, B, C]]) == [([], (A,)), ([A], (B,)), ([A, B], (C,))]


def test_long_endings_of_a_short_context_are_echoed() -> None:
    endings = [[first, *range(20)] for first in (A, B, C, D)]
    assert items(endings, context=[7, 8]) == [(ending, "echo") for ending in endings]


def test_a_long_context_that_the_neighbour_has_computed_is_read() -> None:
    context, endings = list(range(2000)), [[first, 5, 6, 7] for first in (A, B, C, D)]
    assert [what for _, what in items(endings, context=context, cached=1900)] == [
        (A, B, C, D), *([(5,), (6,), (7,)] * 4)
    ]  # fmt: skip


def test_the_cheaper_of_the_two_is_taken() -> None:
    # One ending of five tokens after 150: the tree computes 150 + 5 × 64, the echo 2 × 155 + 64.
    ending, context = [[1, 2, 3, 4, 5]], list(range(150))
    assert items(ending, context=context) == [([1, 2, 3, 4, 5], "echo")]
    # From 96 cached tokens on the tree is no dearer.
    assert items(ending, context=context, cached=95) == [([1, 2, 3, 4, 5], "echo")]
    assert len(items(ending, context=context, cached=96)) == 5


def test_more_tokens_than_a_read_may_ask_for_are_read_in_portions() -> None:
    wanted = list(range(2 * MAX_WANTED + 1))
    assert items([[token] for token in wanted]) == [
        ([], tuple(wanted[:20])), ([], tuple(wanted[20:40])), ([], (40,))
    ]  # fmt: skip


def test_a_server_that_cannot_read_gives_echoes_alone() -> None:
    assert items([[A], [B, C], []], reads=False) == [([A], "echo"), ([B, C], "echo")]


def test_an_empty_continuation_is_certain_and_asks_nothing() -> None:
    for reads in (True, False):
        groups, places = plan([(pack(CONTEXT), b"")], reads=reads)
        assert [group.items for group in groups] == [()]
        assert groups[0].scores({}) == [(0, True)]
        assert places == [(0, 0)]


# --- order and places ----------------------------------------------------------------------


def test_contexts_that_begin_alike_are_neighbours_and_places_lead_back() -> None:
    pairs = [([2, 9], [A]), ([1, 300], [B]), ([2], [C]), ([2, 9], [D]), ([1, 2], [A]), ([2], [C])]
    groups, places = plan([(pack(one), pack(other)) for one, other in pairs])
    assert [unpack(group.context) for group in groups] == [[1, 2], [1, 300], [2], [2, 9]]
    assert [
        (unpack(groups[number].context), unpack(groups[number].continuations[place]))
        for number, place in places
    ] == pairs
    assert [len(group.continuations) for group in groups] == [1, 1, 1, 2]  # ([2], [C]) is one


def test_the_neighbours_beginning_counts_as_computed() -> None:
    shared, endings = list(range(200)), [[A, 5, 6, 7], [B, 5, 6, 7]]
    pairs = [(pack([*shared, last]), pack(ending)) for last in (300, 301) for ending in endings]
    first, second = plan(pairs)[0]
    assert {type(item) for item in first.items} == {Read}
    alone = plan(pairs[2:])[0][0]
    assert alone.items == second.items
    # With a context short enough to be echoed when new, the second of two is read.
    shared = list(range(100))
    pairs = [(pack([*shared, last]), pack(ending)) for last in (300, 301) for ending in endings]
    kinds = [{type(item) for item in group.items} for group in plan(pairs)[0]]
    assert kinds == [{Echo}, {Read}]


# --- scores --------------------------------------------------------------------------------


def answered(items: Sequence[Item]) -> dict[Item, Reply]:
    """Answer as a server does whose probabilities do not depend on how it is asked."""
    server = Completions()
    found: dict[Item, Reply] = {}
    for item in items:
        body = {"prompt": [unpack(item.prompt)]}
        if isinstance(item, Read):
            assert 0 < len(item.wanted) <= MAX_WANTED
            body["logprob_token_ids"] = list(item.wanted)
        else:
            body["echo"] = True
        (found[item],) = replies([item], server.complete(body))
    return found


def test_scores_are_those_of_the_echo_to_the_last_digit() -> None:
    draw = random.Random(0)
    for size in (1, 10, 300):
        context = pack(draw.choices(range(50), k=size))
        continuations = tuple({pack(draw.choices(range(3), k=n % 9)) for n in range(60)})
        whole = {each: pack([*unpack(context), *unpack(each)]) for each in continuations}
        echoes = [Echo(prompt, size) for each, prompt in whole.items() if each]
        tree = items_of(context, continuations, cached=10**6)
        assert {type(item) for item in tree} == {Read}
        by_tree: dict[Item, Answer] = answered(tree)  # type: ignore[assignment]
        by_echo: dict[Item, Answer] = answered(echoes)  # type: ignore[assignment]
        scores = Group(context, continuations, tuple(tree)).scores(by_tree)
        assert scores == Group(context, continuations, tuple(echoes)).scores(by_echo)
        assert {greedy for _, greedy in scores} == {True, False}


def test_a_score_is_the_sum_of_its_tokens_and_greedy_if_all_are() -> None:
    context, ending = [5, 6], next(
        [one, other]
        for one in range(100)
        for other in range(100)
        if logprob([5, 6], one) == logprob([5, 6, one], other) == -0.05
    )  # fmt: skip
    tried = [pack(ending), pack(ending[:1]), pack([ending[0], 101])]
    group = plan([(pack(context), each) for each in tried])[0][0]
    scores = group.scores(answered(group.items))  # type: ignore[arg-type]
    lasts = [-0.05, 0, logprob([5, 6, ending[0]], 101)]
    assert scores == [(-0.05 + last, last > -0.1) for last in lasts]
    assert count(group.context) == 2
