"""What one machine was answered, another has."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infra.scoring import answers
from infra.scoring.answers import Answers, count_kept
from infra.scoring.plan import Read
from infra.scoring.protocol import Question
from infra.scoring.shared_answers import SharedAnswers
from infra.store.shared import place
from tests import object_store

IDENTITY = "d" * 64


def question(number: int) -> Question:
    return Read(b"prompt %d" % number, (1,))


def keep(path: Path, *numbers: int) -> None:
    kept = Answers(path, IDENTITY, print)
    kept.keep((question(number), {1: (-float(number), True)}) for number in numbers)
    kept.close()


def found(path: Path, *numbers: int) -> int:
    kept = Answers(path, IDENTITY, print)
    replies = kept.lookup([question(number) for number in numbers])
    kept.close()
    assert all(
        replies[one] == {1: (-float(n), True)} for n in numbers if (one := question(n)) in replies
    )
    return len(replies)


def machine(url: str, path: Path, said: list[str] | None = None) -> SharedAnswers:
    say = print if said is None else said.append
    return SharedAnswers(path, IDENTITY, place(url), say)


def test_what_one_was_answered_the_other_takes_once(tmp_path: Path) -> None:
    one, two = tmp_path / "one.db", tmp_path / "two.db"
    with object_store.serving() as store:
        first, second = machine(store.url, one), machine(store.url, two)
        keep(one, 1, 2)
        first.give()
        first.give()
        keep(two, 2, 3)
        assert second.take() == 1
        assert second.take() == 0
        assert found(two, 1, 2, 3) == 3
        second.give()
        assert first.take() == 1
        assert found(one, 1, 2, 3) == 3
        assert len(store.objects) == 2  # nobody gives what came from others


def test_at_the_end_a_process_leaves_one_object(tmp_path: Path) -> None:
    with object_store.serving() as store:
        first = machine(store.url, tmp_path / "one.db")
        with first.given():
            for number in range(3):
                keep(tmp_path / "one.db", number)
                first.give()
        assert len(store.objects) == 1
        assert machine(store.url, tmp_path / "two.db").take() == 3


def test_damage_and_answers_of_others_are_no_answers(tmp_path: Path) -> None:
    said: list[str] = []
    with object_store.serving() as store:
        keep(tmp_path / "one.db", 1)
        machine(store.url, tmp_path / "one.db").give()
        (name,) = store.objects
        store.objects[f"{name}-half"] = store.objects[name][:-9]
        other = SharedAnswers(tmp_path / "x.db", "d" * 32 + "e", place(store.url), print)
        assert other.take() == 0
        assert machine(store.url, tmp_path / "two.db", said).take() == 1
    assert len(said) == 1
    assert "damaged" in said[0]


def test_answers_of_another_version_are_no_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with object_store.serving() as store:
        with monkeypatch.context() as later:
            later.setattr(answers, "_VERSION", "99")
            keep(tmp_path / "one.db", 1)
            machine(store.url, tmp_path / "one.db").give()
        assert machine(store.url, tmp_path / "two.db").take() == 0


def test_where_the_store_is_away_nothing_is_lost_and_it_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    with object_store.serving() as store:
        first = machine(store.url, tmp_path / "one.db", said)
        store.away = True
        with first.given():
            keep(tmp_path / "one.db", 1)
            first.give()
            first.give()
            assert first.take() == 0
            store.away = False
        assert machine(store.url, tmp_path / "two.db").take() == 1
    assert len(said) == 1


_KILLED = """
import sys, time
from pathlib import Path
import tests.object_store
from tests.infra.scoring import test_shared_answers as it
url, path = sys.argv[1], Path(sys.argv[2])
with it.machine(url, path).given():
    it.keep(path, 1, 2, 3)
    print("kept", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_was_answered_is_there(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    with object_store.serving() as store, subprocess.Popen(
        [sys.executable, "-c", _KILLED, store.url, str(tmp_path / "one.db")],
        cwd=root, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"kept\n"
            while not store.objects:
                assert process.poll() is None
        finally:
            process.send_signal(signal.SIGKILL)
        assert machine(store.url, tmp_path / "two.db").take() == 3
    assert count_kept(tmp_path / "two.db") == 3
