from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import entropy

from infra.contracts.errors import ComparisonError
from infra.contracts.records import Reading
from infra.probes.fidelity import compare
from infra.probes.fidelity.comparing import agreed, kl_at_least
from infra.probes.fidelity.positions import Positions


def positions(distributions: Any, top_k: int, own: Any = None) -> Positions:
    """One text; position for position the likeliest tokens of a whole distribution."""
    whole = np.atleast_2d(np.asarray(distributions, dtype=np.float64))
    ids = np.argsort(-whole, axis=1, kind="stable")[:, :top_k]
    tokens = [0] * len(whole) if own is None else own
    logprobs = np.log(np.take_along_axis(whole, ids, 1))
    values = [math.log(row[token]) for row, token in zip(whole, tokens, strict=True)]
    return Positions.of(
        [[1, *tokens]], values, ids.tolist(), logprobs.tolist(), origin="made up texts"
    )


def kept(found: Positions, folder: Path, arm: str, **changed: Any) -> Reading:
    found.save(folder / f"{arm}.npz")
    return Reading(
        **{
            "texts": found.texts, "file": f"{arm}.npz", "documents": len(found.lengths),
            "tokens": len(found.own), "nll": found.nll, "perplexity": math.exp(found.nll),
            **changed,
        }
    )  # fmt: skip


# --- Kullback-Leibler divergence -----------------------------------------------------------


def test_it_is_scipy_s_where_all_tokens_are_listed() -> None:
    chance = np.random.default_rng(5)
    baseline, candidate = chance.dirichlet(np.ones(12), (2, 200))
    found = kl_at_least(positions(baseline, 12), positions(candidate, 12))
    np.testing.assert_allclose(found, entropy(baseline, candidate, axis=1), rtol=1e-5, atol=3e-6)


def test_it_is_scipy_s_of_the_lumped_distributions() -> None:
    baseline = [0.5, 0.2, 0.15, 0.1, 0.05]
    candidate = [0.3, 0.05, 0.3, 0.15, 0.2]
    # Tokens 0, 1, 2 here and 0, 2, 4 there: 0 and 2 are on both sides, all others are one.
    found = kl_at_least(positions(baseline, 3), positions(candidate, 3))
    assert found[0] == pytest.approx(entropy([0.5, 0.15, 0.35], [0.3, 0.3, 0.4]), abs=1e-6)
    by_hand = 0.5 * math.log(0.5 / 0.3) + 0.15 * math.log(0.5) + 0.35 * math.log(0.35 / 0.4)
    assert found[0] == pytest.approx(by_hand, abs=1e-6)


def test_with_no_token_in_common_nothing_is_shown() -> None:
    baseline, candidate = [0.4, 0.4, 0.1, 0.1], [0.1, 0.1, 0.4, 0.4]
    assert kl_at_least(positions(baseline, 2), positions(candidate, 2))[0] == 0.0


@pytest.mark.parametrize("top_k", [1, 2, 5, 20])
def test_it_is_never_above_the_true_divergence(top_k: int) -> None:
    chance = np.random.default_rng(top_k)
    baseline = chance.dirichlet(np.full(50, 0.1), 2000) + 1e-9
    baseline /= baseline.sum(1, keepdims=True)
    candidate = baseline * np.exp(chance.normal(0, 1.5, baseline.shape))
    candidate /= candidate.sum(1, keepdims=True)
    found = kl_at_least(positions(baseline, top_k), positions(candidate, top_k))
    true = entropy(baseline, candidate, axis=1)
    assert (found <= true + 3e-6).all()
    assert found.mean() > 0.05 * true.mean()  # zero would be a bound as well


def test_a_model_that_is_sure_is_no_division_by_zero() -> None:
    sure = [1 - 3e-9, 1e-9, 1e-9, 1e-9]
    found = kl_at_least(positions([sure, sure], 2), positions([sure, [0.5, 0.3, 0.1, 0.1]], 2))
    assert found[0] == 0.0
    assert found[1] == pytest.approx(math.log(2), abs=2e-5)
    impossible = positions([[0.5, 0.5]], 2)
    impossible.logprobs[0] = [0.0, -9999.0]  # so the engine writes minus infinity
    assert np.isfinite(kl_at_least(positions([[0.5, 0.5]], 2), impossible)).all()


def test_many_positions_are_compared_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(0)
    baseline, candidate = (positions(chance.dirichlet(np.ones(9), 101), 4) for _ in range(2))
    at_once = kl_at_least(baseline, candidate), agreed(baseline, candidate)
    monkeypatch.setattr("infra.probes.fidelity.comparing._AT_A_TIME", 10)
    np.testing.assert_array_equal(kl_at_least(baseline, candidate), at_once[0])
    np.testing.assert_array_equal(agreed(baseline, candidate), at_once[1])


# --- agreement -----------------------------------------------------------------------------


def test_agreement_is_about_the_likeliest_token() -> None:
    baseline = positions([[0.6, 0.4, 0.0001], [0.6, 0.4, 0.0001], [0.4, 0.4, 0.2]], 2)
    candidate = positions([[0.5, 0.4, 0.1], [0.4, 0.5, 0.1], [0.2, 0.6, 0.2]], 2)
    assert agreed(baseline, candidate).tolist() == [True, False, True]  # the last one is a tie
    assert agreed(candidate, baseline).tolist() == [True, False, True]


# --- the whole -----------------------------------------------------------------------------

HERE = [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5]]
THERE = [[0.6, 0.3, 0.1], [0.3, 0.5, 0.2], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]]


def test_figures_are_those_of_the_positions(tmp_path: Path) -> None:
    baseline = kept(positions(HERE, 3, own=[0, 0, 1, 2]), tmp_path, "baseline")
    candidate = kept(positions(THERE, 3, own=[0, 0, 1, 2]), tmp_path, "candidate")
    found = compare(baseline, candidate, tmp_path)
    true = entropy(HERE, THERE, axis=1)
    assert (found.documents, found.tokens, found.top_k) == (1, 4, 3)
    assert found.agreement == 0.75
    assert found.kl_mean == pytest.approx(true.mean(), abs=1e-6)
    assert found.kl_median == pytest.approx(np.median(true), abs=1e-6)
    assert found.kl_p99 == pytest.approx(np.quantile(true, 0.99), abs=1e-6)
    assert found.perplexity_baseline == pytest.approx((0.7 * 0.5 * 0.8 * 0.5) ** (-1 / 4))
    assert found.perplexity_candidate == pytest.approx((0.6 * 0.3 * 0.8 * 0.4) ** (-1 / 4))
    assert found.texts == "made up texts"


def test_a_model_beside_itself(tmp_path: Path) -> None:
    one = kept(positions(HERE, 2), tmp_path, "baseline")
    found = compare(one, one, tmp_path)
    assert (found.agreement, found.kl_mean, found.kl_p99) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("other", ["texts", "top_k"])
def test_different_readings_are_not_compared(tmp_path: Path, other: str) -> None:
    baseline = kept(positions(HERE, 3), tmp_path, "baseline")
    changed = positions(HERE, 3, own=[1, 0, 1, 2]) if other == "texts" else positions(HERE, 2)
    with pytest.raises(ComparisonError) as caught:
        compare(baseline, kept(changed, tmp_path, "candidate"), tmp_path)
    print(caught.value)
    assert caught.value.field == other
    assert "fidelity." in caught.value.remedy


@pytest.mark.parametrize("harm", ["cut", "absent", "no archive", "other texts", "fewer positions"])
def test_a_harmed_file_is_said(tmp_path: Path, harm: str) -> None:
    reading = kept(positions(HERE, 3), tmp_path, "baseline")
    file = tmp_path / "baseline.npz"
    match harm:
        case "cut":
            file.write_bytes(file.read_bytes()[:-200])
        case "absent":
            file.unlink()
        case "no archive":
            file.write_text("no archive")
        case "other texts":
            kept(positions(HERE, 3, own=[1, 0, 1, 2]), tmp_path, "baseline")
        case _:
            with np.load(file) as stored:
                np.savez(file, **{**stored, "own": stored["own"][1:]})
    with pytest.raises(ComparisonError) as caught:
        compare(reading, reading, tmp_path)
    print(caught.value)
    assert caught.value.field == "reading"
    assert "baseline.npz" in caught.value.fact
