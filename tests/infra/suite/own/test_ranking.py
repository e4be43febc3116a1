"""Borda's count on published examples; MAP@25 as scikit-learn and worked examples have it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score

from infra.suite.own.ranking import AT, borda_points, chance, precision_of_place, ranking


def ballots(names: str, *given: tuple[int, str]) -> np.ndarray:
    """Return ballots: how many of them, and the order of names on each, the best first."""
    rows = []
    for times, order in given:
        worths = [len(names) - order.index(name) for name in names]
        rows += [worths] * times
    return np.array(rows, dtype=float)


def test_bordas_own_example() -> None:
    """J.-C. de Borda 1784, Mémoire sur les élections au scrutin: 21 voters.

    With 3, 2 and 1 points he counts 37, 42 and 47: who has most first places comes last.
    """
    found = ballots("ABC", (1, "ABC"), (7, "ACB"), (7, "BCA"), (6, "CBA"))
    assert (borda_points(found) + 21).tolist() == [37, 42, 47]
    assert ranking(found).tolist() == [2, 1, 0]


def test_the_capital_of_tennessee() -> None:
    """The example of encyclopedias: Memphis, Nashville, Chattanooga, Knoxville; 100 voters."""
    found = ballots("MNCK", (42, "MNCK"), (26, "NCKM"), (15, "CKNM"), (17, "KCNM"))
    assert borda_points(found).tolist() == [126, 194, 173, 107]
    assert ranking(found).tolist() == [1, 2, 0, 3]


def test_equals_share_their_points_and_the_nearer_comes_first() -> None:
    assert borda_points(np.array([[5.0, 5.0, 1.0, 9.0]])).tolist() == [1.5, 1.5, 0, 3]
    # Both have three points; the second is worth more in the mean, the last two are the same.
    found = np.array([[0.9, 0.8, 0.1, 0.1], [0.2, 0.7, 0.1, 0.1]])
    assert borda_points(found).tolist() == [5, 5, 1, 1]
    assert ranking(found).tolist() == [1, 0, 2, 3]


def test_one_ballot_is_ranked_as_it_stands() -> None:
    worths = np.random.default_rng(0).normal(size=(1, 500))
    assert ranking(worths).tolist() == np.argsort(-worths[0]).tolist()


def test_average_precision_is_that_of_scikit_learn() -> None:
    """With one relevant label its score is one over the place of that label."""
    draws = np.random.default_rng(1)
    found, independent = [], []
    for _ in range(300):
        worths = draws.normal(size=(1, 40))
        right = int(draws.integers(40))
        truth = np.zeros((1, 40))
        truth[0, right] = 1
        place = ranking(worths).tolist().index(right) + 1
        found.append(precision_of_place(place))
        score = label_ranking_average_precision_score(truth, worths)
        independent.append(score if score > 1 / (AT + 1) + 1e-12 else 0.0)
    assert np.mean(found) == pytest.approx(np.mean(independent), abs=1e-9)
    assert 0 in found
    assert 1 in found


def test_a_worked_example() -> None:
    """Places 1, 2, 4, 25 and 26 of five rows: (1 + 1/2 + 1/4 + 1/25 + 0) / 5."""
    found = [precision_of_place(place) for place in (1, 2, 4, 25, 26)]
    assert np.mean(found) == pytest.approx(0.358, abs=1e-9)


@pytest.mark.parametrize("candidates", [2, 25, 40, 2587])
def test_chance_is_what_rankings_by_lot_score(candidates: int) -> None:
    expected = chance(candidates)
    places = np.arange(1, candidates + 1)  # each as probable as the others
    scored = [precision_of_place(int(place)) for place in places]
    assert expected["map_at_25"] == pytest.approx(np.mean(scored), abs=1e-12)
    assert expected["recall_at_25"] == pytest.approx(np.mean(np.array(scored) > 0), abs=1e-12)
    assert expected["rank"] == pytest.approx(places.mean())
