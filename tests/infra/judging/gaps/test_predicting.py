"""Flips are predicted from gaps and noise: by hand, by brute force, and by simulation."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from infra.judging.gaps import predicting
from infra.judging.gaps.predicting import FEWEST, Chance, chances, slope
from infra.judging.gaps.reading import ChoiceRow, ahead
from infra.judging.statistics import poisson_binomial_limits
from tests.infra.judging.gaps.made import choice_row

TINY = 1e-9


def flips(rows: Sequence[ChoiceRow]) -> int:
    return sum(row.was_right != row.is_right for row in rows)


def draw(
    chance: random.Random,
    count: int,
    *,
    noise: float = 0.3,
    left: float = 1.0,
    heavy: bool = False,
    choices: Sequence[int] = (4,),
) -> list[ChoiceRow]:
    """Return rows of a candidate that has what is left of each gap, and noise."""
    rows = []
    for number in range(count):
        of = chance.choice(choices)
        right = chance.randrange(of)
        one = [chance.gauss(1.0 if n == right else 0.0, 1.2) for n in range(of)]
        shift = chance.gauss(0, 1)  # what all choices share moves none of them
        more = [chance.gauss(0, noise) for _ in one]
        if heavy:  # one row in ten is pushed five times as hard
            times = 5 if chance.random() < 0.1 else 1
            more = [value * times for value in more]
        other = [left * b + e + shift for b, e in zip(one, more, strict=True)]
        rows.append(choice_row(one, other, right, number))
    return rows


def test_by_hand() -> None:
    """Nine rows that nothing moves, and one close one that noise can reach."""
    far = [choice_row([5.0, 0.0], [5.0, 0.0], 0) for _ in range(8)]
    # Twice as far from its mean: 1 nat beyond a = 1, towards the right choice and away from it.
    nearer = choice_row([5.0, 0.0], [4.0, 1.0], 0)
    close = choice_row([0.5, 0.0], [0.5, 0.0], 0)
    found = chances([*far, nearer, close])
    # a without the close one: (8 * 12.5 + 7.5) / (9 * 12.5). The noise of the eight is then
    # 2.5 (1 - a) each way, that of the other 1.5 - 2.5 a; what becomes of a gap of 0.5 a ...
    a = (8 * 12.5 + 7.5) / (9 * 12.5)
    assert 0.5 * a + 2 * 2.5 * (1 - a) > 0
    assert 0.5 * a + 2 * (1.5 - 2.5 * a) < 0
    assert found[-1] == Chance(changed=1 / 9, flip=1 / 9)
    assert [one.flip for one in found[:9] if one] == [0.0] * 9


def brute(rows: Sequence[ChoiceRow]) -> list[Chance | None]:
    """Return the formula as it is written."""

    def centred(worth: Sequence[float]) -> list[float]:
        return [one - sum(worth) / len(worth) for one in worth]

    found: list[Chance | None] = []
    for i, row in enumerate(rows):
        above = below = 0.0
        for j, other in enumerate(rows):
            if j != i:
                b, c = centred(other.baseline), centred(other.candidate)
                above += sum(x * y for x, y in zip(b, c, strict=True))
                below += sum(x * x for x in b)
        a, count = above / below, len(row.baseline)
        partners = [
            other for j, other in enumerate(rows) if j != i and len(other.baseline) >= count
        ]
        changed = flipped = 0
        for other in partners:
            b_j, c_j = centred(other.baseline[:count]), centred(other.candidate[:count])
            e = [c - a * b for b, c in zip(b_j, c_j, strict=True)]
            worth = [a * b + more for b, more in zip(row.baseline, e, strict=True)]
            changed += ahead(worth, frozenset({row.pick})) < -TINY
            lead = ahead(worth, row.right or frozenset({0}))
            flipped += lead < -TINY if row.was_right else lead > TINY
        found.append(
            Chance(changed / len(partners), flipped / len(partners) if row.right else None)
            if partners
            else None
        )
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("left", [1.0, 0.4, -0.5])
@pytest.mark.parametrize("at_a_time", [20, 2**15])
def test_it_is_the_formula(
    seed: int, left: float, at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the rows are sorted and passed over: -0.5 is a candidate that likes the worst."""
    monkeypatch.setattr(predicting, "_AT_A_TIME", at_a_time)
    rows = draw(random.Random(seed), 40, noise=0.8, left=left, choices=(2, 4, 5))
    assert chances(rows) == brute(rows)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_formula_where_choices_are_worth_the_same(seed: int) -> None:
    drawn = draw(random.Random(seed), 40, noise=2.0)
    rows = [
        choice_row(*([float(round(one)) for one in arm] for arm in (row.baseline, row.candidate)),
                   min(row.right or ()), number)
        for number, row in enumerate(drawn)
    ]  # fmt: skip
    assert any(len({*row.baseline}) < len(row.baseline) for row in rows)
    assert chances(rows) == brute(rows)


def test_a_row_does_not_predict_itself() -> None:
    rows = draw(random.Random(1), 30)
    before = chances(rows)
    wild = choice_row(rows[7].baseline, [9.0, -9.0, 30.0, 2.0], 1, 7)
    after = chances([*rows[:7], wild, *rows[8:]])
    assert after[7] == before[7]
    assert sum(a != b for a, b in zip(after, before, strict=True)) > 10


def test_what_nothing_moves_does_not_flip() -> None:
    rows = [choice_row([-1.0, -1.0 - 0.1 * n, -4.0], [-1.0, -1.0 - 0.1 * n, -4.0], 1, n)
            for n in range(20)]  # fmt: skip
    assert all(one == Chance(0.0, 0.0) for one in chances(rows))
    assert slope(rows) == pytest.approx(1.0)


def test_gaps_that_shrink_alike_flip_nothing() -> None:
    rows = draw(random.Random(2), 200, noise=0.0, left=0.5)
    assert slope(rows) == pytest.approx(0.5)
    assert flips(rows) == 0
    assert all(one == Chance(0.0, 0.0) for one in chances(rows))


def test_rows_that_nobody_can_predict() -> None:
    few = draw(random.Random(3), FEWEST - 1)
    assert chances(few) == [None] * len(few)
    assert slope(few) is None
    wide = choice_row([0.0] * 6, [0.0] * 6, 0)  # alone with six choices
    found = chances([*draw(random.Random(4), 20), wide])
    assert found[-1] is None
    assert None not in found[:-1]


def test_without_the_right_choice_only_changes_are_predicted() -> None:
    rows = draw(random.Random(5), 50)
    lost = choice_row(rows[0].baseline, rows[0].candidate, None)
    found = chances([lost, *rows[1:]])
    assert found[0] is not None
    assert found[0].flip is None
    before = chances(rows)[0]
    assert before is not None
    assert found[0].changed == before.changed


@pytest.mark.parametrize(("noise", "left", "heavy"), [
    (0.3, 1.0, False), (0.6, 0.7, False), (0.2, 0.9, True),
])  # fmt: skip
def test_the_prediction_is_unbiased_and_its_range_covers(
    noise: float, left: float, heavy: bool
) -> None:
    """Whatever the size and the shape of the noise, and whatever is left of the gaps."""
    chance, repeats, missed = random.Random(f"{noise} {left}"), 150, 0
    seen: list[int] = []
    off: list[float] = []
    for _ in range(repeats):
        rows = draw(chance, 60, noise=noise, left=left, heavy=heavy)
        predicted = [one.flip for one in chances(rows) if one and one.flip is not None]
        seen.append(flips(rows))
        off.append(seen[-1] - sum(predicted))
        low, high = poisson_binomial_limits(predicted, 0.95)
        missed += not low <= seen[-1] <= high
    bias = sum(off) / repeats
    error = (sum((one - bias) ** 2 for one in off) / repeats) ** 0.5 / repeats**0.5
    assert sum(seen) > 2 * repeats / 3  # there is something to predict
    assert abs(bias) < 3.5 * error
    assert abs(bias) < 0.15 * sum(seen) / repeats
    assert missed <= 0.05 * repeats
    assert missed > 0  # it is not all numbers there are


def test_noise_that_seeks_out_close_rows_is_noticed() -> None:
    """A push that hits the close rows alone is more than such noise makes."""
    chance = random.Random(6)
    rows = []
    for row in draw(chance, 300, noise=0.05):
        other = list(row.baseline)
        if row.gap < 0.3:
            other[row.pick] -= 0.3
        right = min(row.right or {0})
        rows.append(choice_row(row.baseline, other, right))
    predicted = [one.flip for one in chances(rows) if one and one.flip is not None]
    assert flips(rows) > poisson_binomial_limits(predicted, 0.95)[1]
