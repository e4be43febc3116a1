"""What the page shows of a conversation."""

from __future__ import annotations

import re
from typing import Any

import pytest

from infra.stages.chat.program import markup

NAMES = {"baseline": "baseline", "candidate": "awq-4bit"}


def one(baseline: str, candidate: str, **fields: Any) -> dict[str, Any]:
    running = fields.pop("running", ())
    return {
        "message": "Which?", "blind": False, "vote": None, "stopped": False,
        "sides": {"A": "baseline", "B": "candidate"},
        "answers": {
            side: {"text": text, "note": "", "error": "", "running": side in running}
            for side, text in (("baseline", baseline), ("candidate", candidate))
        },
        **fields,
    }  # fmt: skip


def marks(html: str) -> list[str]:
    return re.findall(r"<mark>(.*?)</mark>", html)


@pytest.mark.parametrize(
    ("first", "second", "marked"),
    [
        ("It is 60 km long.", "It is 65 km long.", ["60", "65"]),
        ("Yes.", "Yes. But not today.", ["But not today."]),
        ("a b c", "a b c", []),
        ("速度是六十。", "速度是七十。", ["六", "七"]),
        ("one  two", "one two", []),
    ],
)
def test_words_are_marked_that_the_other_has_not(
    first: str, second: str, marked: list[str]
) -> None:
    html = markup.marked(first, second)
    assert [word for text in html for word in marks(text)] == marked
    unmarked = [re.sub("</?mark>", "", text) for text in html]
    assert unmarked == [first, second]


def test_long_answers_are_compared_by_lines() -> None:
    same = "\n".join(f"line {number} is the same in both answers" for number in range(400))
    html = markup.marked(f"{same}\nend one\n", f"{same}\nend two\n")
    assert [marks(text) for text in html] == [["end one"], ["end two"]]


def test_nothing_that_was_written_is_markup() -> None:
    text = "<script>alert(1)</script> & <b>"
    html = markup.round_of(one(text, text + "<img src=x>", message=text), NAMES)
    assert "<script" not in html and "<img" not in html and "<b>" not in html
    assert html.count("&lt;script&gt;") == 3
    assert "<script" not in markup.notice([text])


def test_equal_answers_are_said_to_be() -> None:
    html = markup.round_of(one("Yes.", "Yes."), NAMES)
    assert "the same, word for word" in html
    assert "the same" not in markup.round_of(one("Yes.", "No."), NAMES)


def test_names_are_hidden_until_the_vote() -> None:
    sides = {"A": "candidate", "B": "baseline"}
    hidden = markup.round_of(one("x", "y", blind=True, sides=sides), NAMES)
    assert "baseline" not in hidden and "awq" not in hidden and "candidate" not in hidden
    shown = markup.round_of(one("x", "y", blind=True, sides=sides, vote="A"), NAMES)
    assert shown.index("awq-4bit") < shown.index("baseline")
    assert "Your vote: A, awq-4bit." in shown
    assert shown.count("won") == 1


def test_a_row_of_the_run_does_not_tell_who_is_who_while_blind() -> None:
    row = {"target": "7 <b>", "baseline": "seven", "candidate": "eight"}
    assert "7 &lt;b&gt;" in (shown := markup.row_of_the_run(row, blind=False))
    assert "seven" in shown and "eight" in shown
    hidden = markup.row_of_the_run(row, blind=True)
    assert not any(text in hidden for text in ("7", "seven", "eight", "baseline"))


def test_blind_the_faster_one_does_not_show() -> None:
    fast = one("a" * 90, "b" * 9, blind=True, running=("baseline", "candidate"))
    html = markup.round_of(fast, NAMES)
    assert html.count("a" * 9) == 1 and "a" * 10 not in html
    finished = markup.round_of(one("a" * 90, "b" * 9, blind=True, running=("candidate",)), NAMES)
    assert "a" * 10 not in finished and finished.count("writes") == 2 * finished.count(" …</span>")
    seen = markup.round_of(one("a" * 90, "b" * 9, running=("baseline", "candidate")), NAMES)
    assert "a" * 90 in seen


def test_thoughts_are_apart_from_the_answer() -> None:
    assert markup.parted("<think>\nHm.\n</think>\n\nYes.") == ("Hm.", "Yes.")
    assert markup.parted("Hm.</think>Yes.") == ("Hm.", "Yes.")
    assert markup.parted("<think>Hm") == ("Hm", "")
    assert markup.parted("Yes.") == ("", "Yes.")
    html = markup.round_of(one("<think>Hm.</think>Yes.", "Yes."), NAMES)
    assert html.count("<details") == 1 and marks(html) == []


def test_an_engine_that_ended_is_said_in_its_answer() -> None:
    broken = one("x", "")
    broken["answers"]["candidate"]["error"] = "The engine ended: killed by SIGKILL."
    html = markup.round_of(broken, NAMES)
    assert "killed by SIGKILL" in html and "word for word" not in html
