"""Few labels are distinguished from free answers."""

from __future__ import annotations

import pytest

from infra.judging.labels import are_few, label_of


@pytest.mark.parametrize("same", [
    ["(A)", "A", " a.", "a)", "[A]", "**A**", "A:", "“A”", "（Ａ）", "Some steps.\n#### A"],
    ["Yes", "yes.", " YES "],
    ["not  sure", "Not sure."],
    ["-5", " -5."],
])  # fmt: skip
def test_one_label_in_many_spellings(same: list[str]) -> None:
    assert len({label_of(text) for text in same}) == 1


def test_other_labels() -> None:
    assert len({label_of(text) for text in ["5", "-5", "0.5", ".5", "5 %", "(A)", "(B)"]}) == 7
    assert label_of("2 + 5 = 7\n#### 7") != label_of("3 + 4 = 7\n#### 7")
    assert label_of("...") == "..."
    assert label_of("") == ""


@pytest.mark.parametrize(("labels", "few"), [
    ("A B C D", True),  # letters, however few rows
    ("yes no", True),
    ("7 7", False),
    ("7 7 7 8 9", True),
    ("entailment neutral contradiction neutral neutral", True),
    (" ".join(str(n % 10) for n in range(40)), True),
    (" ".join(str(n % 20) for n in range(100)), True),
    (" ".join(map(str, range(200))), False),
    (" ".join(str(n % 150) for n in range(1500)), False),  # the same questions in ten languages
    (" ".join(["none"] * 50 + [str(n) for n in range(50)]), True),
])  # fmt: skip
def test_few(labels: str, few: bool) -> None:
    assert are_few([frozenset({label}) for label in labels.split()]) is few
