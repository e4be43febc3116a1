"""Which of two answers people found better, and what all of it shows.

One line a vote, in the run's folder, only ever added to.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from infra.contracts.errors import AssayError
from infra.contracts.records import Record
from infra.contracts.records.record import Side
from infra.contracts.wording import difference, interval
from infra.judging.statistics.paired import CONFIDENCE

Place = Literal["A", "B"]

_FEWEST = 6
"""With fewer not even votes that all agree differ from chance."""

_WIDE = 0.1
"""Half an interval that is wider than this says little."""


class Turn(Record):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Ballot(Record):
    """What the page hands in."""

    conversation: str
    """Random, the same for all messages of one conversation."""

    before: dict[Side, tuple[Turn, ...]]
    """What each model read and wrote before this message."""

    message: str
    answers: dict[Side, str]
    """Whole, thoughts among them."""

    settings: dict[str, str | int | float | bool | None]
    """System prompt, temperature and so on: what both were asked with."""

    sides: dict[Place, Side]
    """Who stood where."""

    vote: Literal["A", "B", "tie"]


class Vote(Ballot):
    """One vote as it is kept."""

    schema_version: Literal[1] = 1
    at: datetime
    candidate: str
    """Its name in the run."""

    checkpoints: dict[Side, str] = Field(min_length=2)
    """Digests of what answered."""

    @property
    def preferred(self) -> Side | None:
        """Return who was found better; none for a tie."""
        return None if self.vote == "tie" else self.sides[self.vote]


class Preference(Record):
    """What the votes show."""

    votes: int
    candidate: int
    baseline: int
    ties: int
    difference: float | None
    """Share of votes for the candidate minus share for the baseline; none without votes."""

    limits: tuple[float, float] | None
    shown: bool
    """Whether chance alone seldom gives such votes."""

    text: str
    """For people."""


def keep(path: Path, vote: Vote) -> None:
    """Add a vote to a file, whoever adds to it at the same time.

    Of several votes on one message of a conversation the first counts: two buttons were clicked
    before the page had heard of either.

    Raises:
        AssayError: It cannot be kept.
    """
    line = (vote.model_dump_json() + "\n").encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            whole = len(_whole(content))
            if any(_same_message(one, vote) for one in _votes(content[:whole])):
                return
            if whole < len(content):  # a killed writer or a full disk left half a line
                os.ftruncate(descriptor, whole)
            if os.write(descriptor, line) != len(line):
                os.ftruncate(descriptor, whole)
                raise OSError("No space left on device")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise AssayError(
            f"The vote was not kept: {path} cannot be written.",
            cause=error.strerror or str(error),
            remedy="Make room, or let this user write to the run's folder; then vote again.",
        ) from error


def _same_message(one: Vote, other: Vote) -> bool:
    return (one.conversation, one.before, one.message) == (
        other.conversation, other.before, other.message
    )  # fmt: skip


def _votes(content: bytes) -> Iterator[Vote]:
    for line in content.splitlines():
        with suppress(ValidationError):  # whoever reads the file says so
            yield Vote.model_validate_json(line)


def read(path: Path) -> list[Vote]:
    """Return all votes of a file, the first one first; none if there is no file.

    Raises:
        AssayError: A line is no vote.
    """
    votes = []
    try:
        lines = _whole(path.read_bytes()).splitlines()
    except FileNotFoundError:
        return []
    for number, line in enumerate(lines, 1):
        try:
            votes.append(Vote.model_validate_json(line))
        except ValidationError as error:
            raise AssayError(
                f"Line {number} of {path} is no vote.",
                cause=str(error).splitlines()[0],
                remedy="Remove the line, or the file.",
            ) from error
    return votes


def about(votes: Sequence[Vote], candidate: str, checkpoints: Mapping[Side, str]) -> list[Vote]:
    """Return the votes on these two: others are on other weights, or another candidate."""
    return [one for one in votes if one.candidate == candidate and one.checkpoints == checkpoints]


def _whole(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]


def preference(votes: Sequence[Vote]) -> Preference:
    """Return what votes show, every one a row of which at most one side is right.

    Ties count: they say that both are as good. A message that was voted on several times counts
    as one question that comes again.
    """
    from infra.judging.statistics.effects import effect_of

    found = [vote.preferred for vote in votes]
    counts = {
        "votes": len(found),
        "candidate": found.count("candidate"),
        "baseline": found.count("baseline"),
        "ties": found.count(None),
    }
    if not found:
        text = "No votes yet."
        return Preference(**counts, difference=None, limits=None, shown=False, text=text)
    effect = effect_of(
        [float(one == "baseline") for one in found],
        [float(one == "candidate") for one in found],
        CONFIDENCE,
        questions=[vote.message for vote in votes],
    )
    assert effect is not None  # noqa: S101 -- each row is right or wrong
    low, high = effect.limits
    by_chance = effect.p_value if effect.p_value is not None else 1.0
    shown = not low <= 0 <= high and by_chance < 1 - CONFIDENCE
    return Preference(
        **counts,
        difference=effect.difference,
        limits=effect.limits,
        shown=shown,
        text=" ".join(
            [
                f"Candidate minus baseline {difference(effect.difference, 'points')} points "
                f"({interval(low, high, 'points')}, {CONFIDENCE:.0%}).",
                _verdict(effect.difference, shown),
                *_few(len(found), (high - low) / 2),
            ]
        ),
    )


def _verdict(of_candidate: float, shown: bool) -> str:
    if not shown:
        return "No preference is shown."
    return f"The {'candidate' if of_candidate > 0 else 'baseline'} is preferred."


def _few(votes: int, half_width: float) -> list[str]:
    if votes < _FEWEST:
        return [f"Fewer than {_FEWEST} votes show nothing, whatever they are."]
    if half_width <= _WIDE:
        return []
    enough = votes * (half_width / _WIDE) ** 2
    return [
        f"{votes} votes are few: about {_rounded(enough):,} like these would narrow it to "
        f"±{_WIDE * 100:.0f} points."
    ]


def _rounded(number: float) -> int:
    """Return a number with two digits that say something."""
    digits = len(str(int(number))) - 2
    return round(number, -digits) if digits > 0 else round(number)  # type: ignore[return-value]
