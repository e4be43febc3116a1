from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import httpx
import pytest

from tests.infra.scoring import stub
from tests.resume import Job, finish, torment


def job(server: stub.Stub, folder: Path) -> Job:
    return Job(
        base_url=server.base_url,
        model=stub.MODEL,
        key="any",
        answers=str(folder / "answers.db"),
        output=str(folder / "output.json"),
        size=40,
    )


def test_a_run_that_is_killed_again_and_again_ends_as_if_nothing_had_happened(
    tmp_path: Path,
) -> None:
    with stub.serving() as server:
        outcome = torment(server, job(server, tmp_path), tmp_path, kills=4, seed=7)
        kinds = {kind.split()[0] for kind, _ in server.answered}
    print(outcome)
    assert kinds == {"read", "echo", "text"}
    assert outcome.distinct >= 240
    assert outcome.fine


def test_a_question_whose_answer_is_lost_is_sent_again(tmp_path: Path) -> None:
    """What the count above rests on: nothing but the file keeps an answer."""
    with stub.serving(pause=0) as server:
        first = finish(job(server, tmp_path), tmp_path / "first.log")
        answered = server.answered.total()
        with sqlite3.connect(tmp_path / "answers.db") as file:
            file.execute("DELETE FROM answers WHERE key IN (SELECT key FROM answers LIMIT 5)")
        file.close()
        assert finish(job(server, tmp_path), tmp_path / "second.log") == first
        assert server.answered.total() == answered + 5


@pytest.mark.parametrize("kind", ["logprob_token_ids", "echo", "stop"])
def test_the_stub_counts_by_content(kind: str) -> None:
    value = {"logprob_token_ids": [5, 6], "echo": True, "stop": ["x"]}[kind]
    body = {"prompt": [[1, 2, 5], [3, 4, 5], [1, 2, 5]], "model": stub.MODEL, kind: value}
    with stub.serving(pause=0) as server:
        answers = [
            httpx.post(f"{server.base_url}/completions", json=body, trust_env=False).json()
            for _ in range(2)
        ]
    assert answers[0] == answers[1]
    first, other, again = answers[0]["choices"]
    assert json.dumps(first | {"index": 2}) == json.dumps(again) != json.dumps(other)
    assert sorted(server.answered.values()) == [2, 4]
