"""Numbers read well, and rounding never flatters."""

from __future__ import annotations

import pytest

from infra.contracts.wording import (
    confidence,
    counted,
    difference,
    duration,
    interval,
    listed,
    loss,
    own_margin,
    possible_loss,
    score,
    size,
    times,
    wrapped,
)


@pytest.mark.parametrize(("low", "high", "text"), [
    (-0.0985, -0.0281, "−9.9 to −2.8"),
    (-0.0981, -0.0285, "−9.9 to −2.8"),  # outwards
    (-0.05, -0.0004, "−5.0 to −0.04"),  # a loss stays a loss
    (0.0004, 0.05, "+0.04 to +5.0"),
    (-0.0004, 0.0, "−0.1 to 0.0"),
    (-0.072, 0.072, "−7.2 to +7.2"),  # 0.072 * 100 is a hair above 7.2
])  # fmt: skip
def test_interval(low: float, high: float, text: str) -> None:
    assert interval(low, high, "points") == text


@pytest.mark.parametrize(("points", "low", "high", "text"), [
    (6.32, 2.81, 9.85, "6.3 (2.8 to 9.9)"),
    (0.0, -0.32, 0.32, "0.0 (−0.4 to 0.4)"),  # outwards
    (-0.0, -0.0, 0.0, "0.0 (0.0 to 0.0)"),
    (-0.04, -1.0, 0.96, "−0.04 (−1.0 to 1.0)"),  # no −0.0
    (1.0, 0.04, 2.0, "1.0 (0.04 to 2.0)"),  # a loss stays a loss
])  # fmt: skip
def test_a_loss_has_its_interval_beside_it(
    points: float, low: float, high: float, text: str
) -> None:
    assert loss(points, low, high) == text


def test_a_loss_is_the_difference_without_its_sign() -> None:
    for value in (0.0632, 0.00125, -0.00135, 0.0005, 0.07101):
        turned = difference(-value, "points", signed=False)
        assert loss(100 * value, 0, 1).partition(" ")[0] == (
            turned.removeprefix("−") if value > 0 else f"−{turned}"
        )


def test_differences_and_scores() -> None:
    assert difference(-0.0632, "points") == "−6.3"
    assert difference(0.00003, "points") == "+0.003"
    assert difference(0.0, "points") == "0.0"
    assert difference(0.0341, "value") == "+0.034"
    assert score(0.635, "points") == "63.5 %"
    assert score(1234.5678, "value") == "1234.6"
    assert possible_loss(0.07101, "points") == "7.2 points"
    assert possible_loss(0.0701, "value") == "0.071"


@pytest.mark.parametrize(("value", "text"), [
    (0.95, "95 %"), (0.9, "90 %"), (0.975, "97.5 %"), (1 - 0.05 / 8, "99.375 %"),
    (1 - 0.05 / 3, "98.33 %"), (1 - 0.05 / 6, "99.16 %"), (0.99999, "99.999 %"),
    (0.999999, "99.99 %"),
])  # fmt: skip
def test_a_confidence_is_never_rounded_up(value: float, text: str) -> None:
    assert confidence(value) == text


def test_sizes_and_durations() -> None:
    assert [size(n) for n in (512, 9_960, 15_231_233_024, 999_999_999)] == [
        "512 B", "9.96 kB", "15.2 GB", "1 GB",
    ]  # fmt: skip
    assert [duration(s) for s in (0.42, 9.96, 59.7, 252, 3600, 3784)] == [
        "0.4 s", "10 s", "1 min", "4 min 12 s", "1 h", "1 h 3 min",
    ]  # fmt: skip
    assert [listed(w) for w in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_a_command_stays_on_one_line() -> None:
    command = "`" + "cp 'a  b' " * 20 + "c`"
    lines = wrapped("remedy: ", "  ", f"Do this: {command}, and then that. " + "word " * 30)
    assert any(command in line for line in lines)
    assert all(len(line) <= 100 for line in lines if command not in line)
    assert lines[0] == "remedy: Do this:"


def test_a_margin_has_the_unit_of_its_metric() -> None:
    assert own_margin(1.0, "points") == "1 point"
    assert own_margin(2.5, "points", "points") == "2.5 points"
    assert own_margin(0.05, "value", "nats") == "0.05 nats"
    assert own_margin(0.3, "value", "value") == own_margin(0.3, "value") == "0.3"


def test_questions_that_are_asked_again_are_told_apart_from_rows() -> None:
    assert counted(1234, 1, alike=True) == "1,234 rows"
    assert counted(60, 4, alike=True) == "60 questions, asked 4 times each"
    assert counted(1060, 4, alike=False) == "1,060 questions, asked up to 4 times each"
    assert (times(1234, 1), times(60, 4)) == ("1,234", "60 × 4")
