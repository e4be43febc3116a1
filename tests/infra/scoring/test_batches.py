from __future__ import annotations

from collections.abc import Sequence

from infra.scoring.batches import (
    MAX_ECHO_TOKENS,
    MAX_ECHOES,
    MAX_READ_TOKENS,
    MAX_READS,
    batches,
)
from infra.scoring.plan import MAX_WANTED, Echo, Read
from infra.scoring.protocol import Generation, Question, wanted_by
from infra.scoring.tokens import pack


def read(*wanted: int, size: int = 1) -> Question:
    return Read(pack([0] * size), wanted)


def echo(size: int = 2) -> Question:
    return Echo(pack([0] * size), 1)


def generation(size: int = 1) -> Question:
    return Generation(pack([0] * size), "{}")


def sizes(questions: Sequence[Question]) -> list[int]:
    cut = list(batches(questions))
    assert [question for batch in cut for question in batch] == list(questions)
    return [len(batch) for batch in cut]


def test_nothing_is_no_request() -> None:
    assert sizes([]) == []


def test_reads_travel_up_to_a_number_and_a_length() -> None:
    assert sizes([read(1)] * (2 * MAX_READS + 1)) == [MAX_READS, MAX_READS, 1]
    quarter = MAX_READ_TOKENS // 4
    assert sizes([read(1, size=quarter)] * 5) == [4, 1]
    assert sizes([*[read(1, size=quarter)] * 3, read(1, size=quarter + 1), read(1)]) == [3, 2]


def test_echoes_travel_up_to_a_number_and_a_length() -> None:
    assert sizes([echo()] * (2 * MAX_ECHOES + 1)) == [MAX_ECHOES, MAX_ECHOES, 1]
    half = MAX_ECHO_TOKENS // 2
    assert sizes([echo(half)] * 5) == [2, 2, 1]
    assert sizes([echo(half), echo(half + 1)]) == [1, 1]


def test_one_that_is_longer_than_a_request_travels_alone() -> None:
    assert sizes([read(1), read(1, size=MAX_READ_TOKENS + 1), read(1)]) == [1, 1, 1]
    assert sizes([echo(MAX_ECHO_TOKENS + 1), echo()]) == [1, 1]


def test_generations_travel_alone() -> None:
    assert sizes([generation()] * 3) == [1, 1, 1]


def test_kinds_do_not_mix() -> None:
    questions = [read(1), read(2), echo(), echo(), read(1), generation(), read(1), read(2)]
    assert sizes(questions) == [2, 2, 1, 1, 2]


def test_reads_share_a_request_while_all_they_want_fits_one() -> None:
    letters = [read(*range(first, first + 4)) for first in range(0, 2 * MAX_WANTED, 4)]
    assert sizes(letters) == [5, 5]
    assert sizes([*letters[:5], letters[0], letters[5], letters[5]]) == [6, 2]
    # What a request wants starts anew with the request, also after one of another kind.
    for questions in ([*letters[:6], *letters[6:10]], [*letters[:5], echo(), *letters[5:10]]):
        cut = list(batches(questions))
        assert [len(batch) for batch in cut if isinstance(batch[0], Read)] == [5, 5]
        assert max(len(wanted_by(batch)) for batch in cut) == MAX_WANTED
