"""Votes are kept whole, and their interval is that of the verdicts."""

from __future__ import annotations

import fcntl
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import AssayError
from infra.judging.statistics.paired import PairedCounts, paired_proportions
from infra.stages.chat.votes import Preference, Vote, about, keep, preference, read


def made(vote: str = "A", message: str = "Hello?", **fields: Any) -> Vote:
    return Vote.model_validate(
        {
            "conversation": "c", "before": {"baseline": [], "candidate": []}, "message": message,
            "answers": {"baseline": "Yes?", "candidate": "Well …"},
            "settings": {"temperature": 0.5, "system": ""},
            "sides": {"A": "candidate", "B": "baseline"}, "vote": vote,
            "at": datetime(2026, 1, 1, tzinfo=UTC), "candidate": "awq",
            "checkpoints": {"baseline": "1", "candidate": "2"}, **fields,
        }
    )  # fmt: skip


def shown(candidate: int, baseline: int, ties: int) -> Preference:
    votes = [*["A"] * candidate, *["B"] * baseline, *["tie"] * ties]
    return preference([made(vote, f"{number}") for number, vote in enumerate(votes)])


def test_who_is_preferred_goes_by_the_sides() -> None:
    assert made("A").preferred == "candidate"
    assert made("B").preferred == "baseline"
    assert made("tie").preferred is None
    assert made("A", sides={"A": "baseline", "B": "candidate"}).preferred == "baseline"


def test_votes_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "chat" / "votes.jsonl"
    votes = [made("A", "One\nline\u2028?"), made("tie", "日本語")]
    assert read(path) == []
    for vote in votes:
        keep(path, vote)
    assert read(path) == votes


def test_half_a_line_is_no_vote_and_harms_none(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    keep(path, made())
    with path.open("a") as file:
        file.write('{"conversation": "c", "mess')
    assert read(path) == [made()]
    keep(path, made("B", "Again?"))
    assert read(path) == [made(), made("B", "Again?")]


def test_of_two_votes_on_one_message_the_first_counts(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    answered = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes?"}]
    later = made("B", before={"baseline": answered, "candidate": answered})
    for vote in (made("A"), made("B"), made("tie"), later, made("B", conversation="another")):
        keep(path, vote)
    assert read(path) == [made("A"), later, made("B", conversation="another")]


def test_a_line_that_is_no_vote_is_named(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    keep(path, made())
    path.write_text(path.read_text() + "{}\n")
    with pytest.raises(AssayError, match=f"Line 2 of {path} is no vote"):
        read(path)


def test_a_vote_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    with pytest.raises(AssayError, match="The vote was not kept"):
        keep(Path("/dev/full"), made())
    (tmp_path / "file").write_text("")
    with pytest.raises(AssayError, match="The vote was not kept"):
        keep(tmp_path / "file" / "votes.jsonl", made())


def test_whoever_keeps_a_vote_is_alone_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    keep(path, made())
    other = threading.Thread(target=keep, args=(path, made("B", "Again?")))
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write('{"half": ')  # of a line that is being written
        file.flush()
        other.start()
        other.join(0.5)
        assert path.read_text().endswith('{"half": ')
        file.truncate(path.stat().st_size - len('{"half": '))
    other.join()
    assert read(path) == [made(), made("B", "Again?")]


def test_votes_on_something_else_do_not_count() -> None:
    digests = made().checkpoints
    votes = [made(), made(candidate="gptq"), made(checkpoints={"baseline": "1", "candidate": "3"})]
    assert about(votes, "awq", digests) == [made()]


def test_ties_count_as_rows_without_a_winner() -> None:
    found = shown(candidate=12, baseline=5, ties=3)
    assert (found.votes, found.candidate, found.baseline, found.ties) == (20, 12, 5, 3)
    assert found.difference == pytest.approx(0.35)
    counts = PairedCounts(both=0, first_only=12, second_only=5, neither=3)
    assert found.limits == pytest.approx(paired_proportions(counts))


def test_few_votes_are_called_few() -> None:
    assert preference([]).text == "No votes yet."
    few = shown(candidate=5, baseline=0, ties=0)
    assert not few.shown
    assert "Fewer than 6 votes show nothing" in few.text
    assert shown(candidate=6, baseline=0, ties=0).shown
    some = shown(candidate=12, baseline=5, ties=3)
    assert not some.shown
    assert "No preference is shown. 20 votes are few: about" in some.text


def test_a_preference_is_shown_in_either_direction() -> None:
    many = shown(candidate=400, baseline=200, ties=200)
    assert many.shown
    assert many.text.startswith("Candidate minus baseline +25.0 points (+")
    assert many.text.endswith("The candidate is preferred.")
    assert shown(200, 400, 200).text.endswith("The baseline is preferred.")
    assert "preferred" not in shown(400, 400, 0).text


def test_the_same_message_again_is_the_same_question() -> None:
    one = shown(candidate=30, baseline=10, ties=0)
    again = preference([made("A", "x")] * 30 + [made("B", f"{number}") for number in range(10)])
    assert one.limits is not None and again.limits is not None
    assert again.limits[1] - again.limits[0] > 1.5 * (one.limits[1] - one.limits[0])
