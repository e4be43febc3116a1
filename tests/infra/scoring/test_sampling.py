from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.scoring.sampling import is_sampled, seed_of, seeds
from tests.infra.scoring.checking_client import requests
from tests.infra.suite.harness.completions_server import Completions

WARM = {"until": ["x"], "temperature": 0.7, "top_p": 0.9}
GREEDY = {"until": ["x"], "temperature": 0.0, "do_sample": False}


def sent(server: Completions) -> list[int]:
    return [body["seed"] for body in server.requests]


def drawn(server: Completions) -> None:
    """Let the server's texts depend on the seed, as those of a model do."""
    seen = server.complete

    def complete(body: dict[str, Any]) -> dict[str, Any]:
        answer = seen(body)
        for choice in answer["choices"]:
            choice["text"] += f" {body['seed']}"
        return answer

    server.complete = complete  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("given", "so"),
    [
        ({}, False), ({"temperature": 0}, False), ({"temperature": None}, False),
        ({"do_sample": True}, False), ({"temperature": 1e-3}, True), ({"temperature": "1"}, True),
        ({"temperature": "warm"}, False),
    ],
)  # fmt: skip
def test_the_temperature_alone_says_whether_anything_is_drawn(
    given: dict[str, Any], so: bool
) -> None:
    assert is_sampled(given) is so


def test_every_occurrence_of_a_question_has_a_seed_of_its_own() -> None:
    first, second = requests("generate_until", ("Q:", WARM), ("Q:", WARM))
    found = seeds([first, first, second, first, second], 7)
    assert len({*found}) == 5
    assert found == [
        seed_of(7, ("quiz", document), number)
        for document, number in [(0, 0), (0, 1), (1, 0), (0, 2), (1, 1)]
    ]
    assert all(0 <= seed < 2**31 for seed in found if seed is not None)


def test_what_else_is_asked_changes_no_seed() -> None:
    made = requests("generate_until", ("A:", WARM), ("B:", GREEDY), ("C:", WARM))
    whole = seeds([made[0]] * 2 + [made[1]] + [made[2]] * 2, 7)
    assert whole == [*seeds([made[0]] * 2, 7), None, *seeds([made[2]] * 3, 7)[:2]]
    assert seeds([made[0]], 8) != whole[:1]


def test_a_seed_of_the_tasks_own_takes_the_place_of_the_runs() -> None:
    own = requests("generate_until", ("A:", {**WARM, "seed": 5}))
    assert seeds(own * 2, 7) == seeds(own * 2, 8)
    assert len({*seeds(own * 2, 7)}) == 2


def test_repeats_are_drawn_apart_and_greedy_ones_sent_once(
    server: Completions, model: Callable[..., Any]
) -> None:
    drawn(server)
    warm, greedy = requests("generate_until", ("Q:", WARM), ("Q:", GREEDY))
    texts = model(server).generate_until([warm] * 4 + [greedy] * 4, True)
    assert len({*texts[:4]}) == 4
    assert len({*texts[4:]}) == 1
    assert Counter(body["temperature"] for body in server.requests) == {0.7: 4, 0.0: 1}
    assert {body["top_p"] for body in server.requests if body["temperature"]} == {0.9}
    [body] = [body for body in server.requests if not body["temperature"]]
    assert body["seed"] == 1234


def test_both_arms_draw_with_the_same_seeds(server: Completions, model: Callable[..., Any]) -> None:
    asked = requests("generate_until", ("Q:", WARM), ("R:", WARM))
    seen = []
    for _ in range(2):
        server.requests.clear()
        model(server).generate_until([asked[0]] * 3 + [asked[1]] * 3, True)
        seen.append(sorted((json.dumps(body["prompt"]), body["seed"]) for body in server.requests))
    assert seen[0] == seen[1]
    assert len({seed for _, seed in seen[0]}) == 6


def test_a_run_that_failed_goes_on_with_the_same_draws_and_asks_none_twice(
    server: Completions, model: Callable[..., Any], tmp_path: Path
) -> None:
    drawn(server)
    options = {"answers": tmp_path / "answers.sqlite", "identity": "tiny", "num_concurrent": 1}
    asked = [one for one in requests("generate_until", *[("Q:", WARM)] * 3) for _ in range(4)]
    whole = model(server).generate_until(asked, True)
    first = model(server, **options)
    server.requests.clear()
    server.fail_after = 6
    with pytest.raises(Exception, match="could not be asked"):
        first.generate_until(asked, True)
    first.close()
    before = sent(server)[:5]
    server.fail_after = None
    server.requests.clear()
    again = model(server, **options)
    assert again.generate_until(asked, True) == whole
    again.close()
    assert len({*before, *sent(server)}) == len(before) + len(sent(server)) == 12


def test_other_sampling_is_another_answer(
    server: Completions, model: Callable[..., Any], tmp_path: Path
) -> None:
    options = {"answers": tmp_path / "answers.sqlite", "identity": "tiny"}
    for given in (WARM, {**WARM, "top_p": 0.8}, {**WARM, "temperature": 0.8}, {**WARM, "seed": 2}):
        server.requests.clear()
        one = model(server, **options)
        one.generate_until(requests("generate_until", ("Q:", given)), True)
        one.close()
        assert len(server.requests) == 1


def test_lm_evals_cache_keeps_no_answer_for_all_repeats(
    server: Completions, model: Callable[..., Any]
) -> None:
    kept: list[Any] = []
    ours = model(server)

    class Hook:
        def add_partial(self, *given: Any) -> None:
            kept.append(given)

    ours.cache_hook = Hook()
    ours.generate_until(requests("generate_until", ("Q:", WARM), ("R:", GREEDY)), True)
    assert [arguments[0] for _, arguments, _ in kept] == ["R:"]
