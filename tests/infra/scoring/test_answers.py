from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.scoring.answers import Answers, decode, encode, key_of
from infra.scoring.plan import Echo, Read
from infra.scoring.protocol import Generation, Question, Reply
from infra.scoring.tokens import pack

ROOT = Path(__file__).parents[3]
GIVEN: dict[Question, Reply] = {
    Read(pack([5, 6]), (1, 9)): {1: (-0.1 - 0.2, True), 9: (-1e-17, False)},
    Read(pack([5, 6]), (1,)): {1: (-0.5, False)},
    Echo(pack([5, 6]), 1): (-12.345678901234567, False),
    Echo(pack([5, 6, 7]), 1): (0, True),
    Generation(pack([5, 6]), "{}"): ("naïve — 🧀\u0000\n", "stop"),
    Generation(pack([5, 6]), '{"n": 1}'): (None, None),
}
QUESTIONS = list(GIVEN)


class Kept:
    """A path, and what opening it says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[str] = []

    def open(self, identity: str = "model A") -> Answers:
        return Answers(self.path, identity, self.said.append)

    def fill(self, given: dict[Question, Reply] = GIVEN, identity: str = "model A") -> None:
        answers = self.open(identity)
        answers.keep(given.items())
        answers.close()

    def found(self, given: dict[Question, Reply] = GIVEN, identity: str = "model A") -> int:
        """Return how many of these are found; those that are have to be equal."""
        answers = self.open(identity)
        found = answers.lookup(list(given))
        answers.close()
        assert found == {question: given[question] for question in found}
        return len(found)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "deep" / "answers.sqlite")


def numbered(numbers: range, size: int = 1) -> dict[Question, Reply]:
    return {Generation(pack([n]), "{}"): (f"{n} " * size, "stop") for n in numbers}


# --- what is kept --------------------------------------------------------------------------


def test_answers_survive_closing_to_the_last_digit(kept: Kept) -> None:
    kept.fill()
    answers = kept.open()
    assert answers.lookup(QUESTIONS) == GIVEN
    found = answers.lookup(QUESTIONS[:1])[QUESTIONS[0]]
    assert found == {1: (-0.30000000000000004, True), 9: (-1e-17, False)}
    assert answers.lookup([Echo(pack([5, 6]), 0), Read(pack([5, 6]), (9,))]) == {}
    answers.close()
    assert kept.said == []


def test_each_part_of_a_question_counts() -> None:
    prompt, other = pack([5, 6]), pack([5, 7])
    different = [
        *QUESTIONS,
        Read(other, (1, 9)), Read(prompt, (19,)), Read(prompt, ()), Echo(other, 1), Echo(prompt, 2),
        Generation(other, "{}"), Generation(prompt, "1"), Generation(prompt, '{"n": 2}'),
    ]  # fmt: skip
    assert len({key_of(question) for question in different}) == len(different)


def test_more_are_looked_up_than_one_query_takes(kept: Kept) -> None:
    many = numbered(range(2345))
    kept.fill(many)
    assert kept.found(many) == 2345


def test_without_a_path_nothing_is_kept(tmp_path: Path) -> None:
    said: list[str] = []
    answers = Answers(None, "", said.append)
    answers.keep(GIVEN.items())
    assert answers.lookup(QUESTIONS) == {}
    answers.close()
    assert (said, list(tmp_path.iterdir())) == ([], [])


def test_a_closed_file_keeps_and_knows_nothing(kept: Kept) -> None:
    answers = kept.open()
    answers.close()
    answers.close()
    answers.keep(GIVEN.items())
    assert answers.lookup(QUESTIONS) == {}
    assert kept.found() == 0


# --- files that are not ours ---------------------------------------------------------------


def test_another_identity_is_put_aside_and_not_lost(kept: Kept) -> None:
    kept.fill()
    assert kept.found(identity="model B") == 0
    assert kept.said == [
        "answers.sqlite belongs to another server (1 model A); it is put aside as "
        "answers.sqlite.aside-1."
    ]
    assert Kept(kept.path.with_name("answers.sqlite.aside-1")).found() == len(GIVEN)
    assert kept.found(identity="model A") == 0
    assert kept.said[1].endswith("answers.sqlite.aside-2.")


@pytest.mark.parametrize("garbage", [b"no database\n" * 99, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_of_garbage_is_put_aside(kept: Kept, garbage: bytes) -> None:
    kept.path.parent.mkdir()
    kept.path.write_bytes(garbage)
    kept.fill()
    assert kept.path.with_name("answers.sqlite.aside-1").read_bytes() == garbage
    assert len(kept.said) == 1
    assert "is damaged (file is not a database)" in kept.said[0]
    assert kept.found() == len(GIVEN)


@pytest.mark.parametrize("lies_there", ["file above", "folder"])
def test_a_path_where_no_file_can_be_costs_resumability_alone(
    lies_there: str, kept: Kept, tmp_path: Path
) -> None:
    if lies_there == "folder":
        kept.path.mkdir(parents=True)
    else:
        kept.path.parent.write_text("")
    answers = kept.open()
    answers.keep(GIVEN.items())
    assert answers.lookup(QUESTIONS) == {}
    answers.close()
    assert len(kept.said) == 1
    assert f"cannot be kept in {kept.path}" in kept.said[0]


# --- damage --------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from infra.scoring.answers import Answers
from tests.infra.scoring.test_answers import numbered
answers = Answers(Path(sys.argv[1]), "model A", print)
for number in range(9):
    answers.keep(numbered(range(number, number + 1), size=3000).items())
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(path: Path) -> Path:
    """Keep nine answers in a process that is killed; return the log it leaves."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    return path.with_name(path.name + "-wal")


@pytest.mark.parametrize(("damage", "lost"), [("none", 0), ("cut", 1), ("more", 0), ("flipped", 1)])
def test_a_torn_tail_of_the_log_costs_what_it_held(damage: str, lost: int, kept: Kept) -> None:
    log = killed(kept.path)
    whole = log.read_bytes()
    torn = {
        "none": whole,
        "cut": whole[:-100],
        "more": whole + b"\x17" * 5000,
        "flipped": whole[:-2000] + b"\x17" * 1000 + whole[-1000:],
    }
    log.write_bytes(torn[damage])
    given = numbered(range(9), size=3000)
    assert kept.found(given) == 9 - lost
    kept.fill(given)
    assert kept.found(given) == 9
    assert kept.said == []


@pytest.mark.parametrize(
    "damaged", ["", "[", "[1]", "[[1]]", "[[-1.0, 1]]", "[-1.0, true, 2]", '["a", 1]', "null", 7]
)
def test_a_damaged_row_is_requested_again(kept: Kept, damaged: str | int) -> None:
    for question in QUESTIONS:
        kept.fill()
        with sqlite3.connect(kept.path) as file:
            file.execute("UPDATE answers SET reply = ? WHERE key = ?", [damaged, key_of(question)])
        file.close()
        answers = kept.open()
        assert answers.lookup(QUESTIONS).keys() == GIVEN.keys() - {question}
        answers.close()
    assert kept.said == []


def test_a_row_of_another_shape_is_not_decoded() -> None:
    for question, reply in GIVEN.items():
        assert decode(question, encode(question, reply)) == reply
        for other in QUESTIONS:
            if key_of(other) != key_of(question) and type(other) is not type(question):
                with pytest.raises((ValueError, TypeError)):
                    decode(other, encode(question, reply))


def test_a_file_with_a_damaged_page_is_reported_once_and_requested_again(kept: Kept) -> None:
    given = numbered(range(200), size=500)
    kept.fill(given)
    whole = kept.path.read_bytes()
    kept.path.write_bytes(whole[: 3 * 4096] + b"\xff" * (len(whole) - 3 * 4096))
    answers = kept.open()
    assert len(answers.lookup(list(given))) < 200
    answers.keep(given.items())
    answers.keep(GIVEN.items())
    answers.close()
    assert len(kept.said) == 1
    assert str(kept.path) in kept.said[0]


# --- full disk, other writers --------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Folder on a disk of 400 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only a privileged root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_reported_once_and_written_to_when_there_is_room(small_disk: Path) -> None:
    kept = Kept(small_disk / "answers.sqlite")
    kept.fill()
    answers = kept.open()
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    for number in range(5):
        answers.keep(numbered(range(number, number + 1), size=3000).items())
    assert answers.lookup(QUESTIONS) == GIVEN
    assert len(kept.said) == 1
    assert f"cannot be written to {kept.path}" in kept.said[0]
    assert "The run goes on" in kept.said[0]
    ballast.unlink()
    answers.keep(numbered(range(5, 6)).items())
    answers.close()
    assert kept.found(numbered(range(5), size=3000) | numbered(range(5, 6))) == 6
    assert len(kept.said) == 1


LIMITED = """
import resource, sys
from pathlib import Path
from infra.scoring.answers import Answers
from tests.infra.scoring.test_answers import numbered
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
answers = Answers(Path(sys.argv[1]), "model A", print)
for number in range(60):
    answers.keep(numbered(range(number, number + 1), size=3000).items())
answers.close()
"""


def test_a_file_that_may_not_grow_does_not_end_the_run(kept: Kept) -> None:
    command = [sys.executable, "-c", LIMITED, str(kept.path)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
    assert "cannot be written to" in done.stdout
    assert 0 < kept.found(numbered(range(60), size=3000)) < 60


def test_two_writers_at_once_lose_nothing(kept: Kept) -> None:
    together = threading.Barrier(2)

    def write(numbers: range) -> None:
        answers = kept.open()
        together.wait()
        for number in numbers:
            answers.keep(numbered(range(number, number + 1)).items())
        answers.close()

    writers = [threading.Thread(target=write, args=[range(n, 300, 2)]) for n in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert kept.said == []
    assert kept.found(numbered(range(300))) == 300


def test_several_that_begin_a_file_together_all_may_write(tmp_path: Path) -> None:
    for turn in range(12):
        kept = Kept(tmp_path / f"{turn}.sqlite")
        together = threading.Barrier(4)

        def begin(number: int, kept: Kept = kept, together: threading.Barrier = together) -> None:
            together.wait()
            kept.fill(numbered(range(number, number + 1)))

        writers = [threading.Thread(target=begin, args=[number]) for number in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert kept.said == []
        assert kept.found(numbered(range(4))) == 4
