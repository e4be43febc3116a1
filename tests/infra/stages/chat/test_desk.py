"""What the page may ask, over real HTTP."""

from __future__ import annotations

import json
from typing import Any

import httpx

from infra.contracts.errors import AssayError
from infra.stages.chat.desk import Desk, opened
from infra.stages.chat.votes import Ballot, Preference, preference
from tests.infra.stages.chat.test_votes import made

BALLOT = made().model_dump(
    mode="json", exclude={"schema_version", "at", "candidate", "checkpoints"}
)


def desk(heard: list[Ballot]) -> Desk:
    def vote(ballot: Ballot) -> Preference:
        if ballot.message == "full":
            raise AssayError("The vote was not kept.", remedy="Make room.")
        heard.append(ballot)
        return preference([made()] * len(heard))

    return Desk(vote=vote, preference=lambda: preference([made()] * len(heard)))


def answer_of(method: str, path: str, one: Desk, body: Any = None, key: str = "") -> httpx.Response:
    with opened(one) as address:
        headers = {"Authorization": f"Bearer {key or address['key']}"}
        return httpx.request(
            method, address["url"] + path, headers=headers, json=body, trust_env=False
        )


def test_a_vote_is_answered_with_what_all_show() -> None:
    heard: list[Ballot] = []
    answer = answer_of("POST", "/votes", desk(heard), BALLOT)
    assert answer.status_code == 201
    assert heard == [Ballot.model_validate(BALLOT)]
    assert answer.json()["candidate"] == 1


def test_whoever_has_no_key_gets_nothing() -> None:
    heard: list[Ballot] = []
    for method, path in (("POST", "/votes"), ("GET", "/preference"), ("GET", "/ended")):
        answer = answer_of(method, path, desk(heard), BALLOT, key="wrong")
        assert (answer.status_code, answer.json()) == (401, {})
    assert heard == []


def test_a_vote_that_is_none_or_is_not_kept_is_said() -> None:
    heard: list[Ballot] = []
    for body in ({**BALLOT, "vote": "C"}, {**BALLOT, "message": "full"}, {}, [1]):
        answer = answer_of("POST", "/votes", desk(heard), body)
        assert answer.status_code == 409
        assert answer.json()["error"]
    assert heard == []


def test_the_page_hears_which_engine_ended() -> None:
    one = desk([])
    assert answer_of("GET", "/ended", one).json() == {}
    one.ended["candidate"] = "It ran out of memory."
    assert answer_of("GET", "/ended", one).json() == {"candidate": "It ran out of memory."}
    assert answer_of("GET", "/other", one).status_code == 404


def test_being_asked_is_noticed() -> None:
    one = desk([])
    one.heard = 0.0
    json.loads(answer_of("GET", "/preference", one).text)
    assert one.heard > 0
