"""When weights are those of another checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from infra.probes.triage.likeness import NOTHING_ALIKE, compare, sampled_rows
from infra.probes.triage.packing import Sample

DRAW = np.random.default_rng(3)
WEIGHT = DRAW.standard_normal((64, 256)).astype(np.float32)


def exact(values: Any) -> Sample:
    return Sample(values.astype(np.float32), np.zeros((1, 1), np.float32))


def rounded(values: Any, step: float) -> Sample:
    whole = np.round(values / step) * step
    return Sample(whole.astype(np.float32), np.full((1, 1), step, np.float32))


def test_rounding_is_all_that_is_left_of_rounded_weights() -> None:
    found = compare(rounded(WEIGHT, 0.4), exact(WEIGHT))
    assert found is not None
    assert found.same
    assert found.error == pytest.approx(found.rounding, rel=0.05)
    assert found.signs == 1.0


def test_factors_of_rows_and_columns_are_no_difference() -> None:
    rows, columns = np.exp(DRAW.standard_normal((64, 1))), np.exp(DRAW.standard_normal((1, 256)))
    found = compare(exact(WEIGHT * rows * columns), exact(WEIGHT))
    assert found is not None
    assert found.error < 0.01
    assert found.same


@pytest.mark.parametrize(
    "ours",
    [
        DRAW.permutation(WEIGHT.ravel()).reshape(WEIGHT.shape),
        WEIGHT[::-1],
        np.roll(WEIGHT, 1, axis=1),
        -WEIGHT,
        WEIGHT * 100,
        WEIGHT / 100,
        WEIGHT * 0,
        np.where(np.arange(256) < 128, WEIGHT, WEIGHT[:, ::-1]),
        np.full_like(WEIGHT, np.nan),
        np.full_like(WEIGHT, np.inf),
        np.where(DRAW.random(WEIGHT.shape) < 0.95, 0, WEIGHT),
        WEIGHT * np.exp(DRAW.standard_normal(WEIGHT.shape)),
    ],
    ids=[
        "shuffled", "rows", "columns", "negative", "a hundredfold", "a hundredth", "nothing",
        "half of it", "NaN", "infinite", "a handful", "other sizes",
    ],
)  # fmt: skip
def test_another_layer_is_another(ours: Any) -> None:
    found = compare(exact(ours), exact(WEIGHT))
    assert found is not None
    assert not found.same


def test_zeros_beside_the_right_ones_are_seen_at_four_bits_and_do_no_harm_at_eight() -> None:
    step = np.abs(WEIGHT).max() / 7
    four, eight = rounded(WEIGHT, step), rounded(WEIGHT, step / 16)
    for sample, same in ((four, False), (eight, True)):
        found = compare(Sample(sample.values + sample.steps, sample.steps), exact(WEIGHT))
        assert found is not None
        assert found.same == same


def test_two_rounded_ones_differ_by_both_roundings() -> None:
    found = compare(rounded(WEIGHT, 0.3), rounded(WEIGHT, 0.4))
    assert found is not None
    assert found.rounding > 0.5 / np.sqrt(12) * 0.95
    assert found.same


def test_where_the_other_has_nothing_nothing_is_compared() -> None:
    assert compare(exact(WEIGHT), exact(WEIGHT * 0)) is None


def test_another_shape_is_another_layer() -> None:
    assert not NOTHING_ALIKE.same


@pytest.mark.parametrize("outputs", [1, 7, 8, 20, 64, 65, 4096])
def test_rows_are_spread_over_the_layer(outputs: int) -> None:
    rows = sampled_rows(outputs)
    assert (np.diff(rows) > 0).all()
    assert rows[0] == 0
    assert outputs - 8 <= rows[-1] < outputs
    assert len(rows) == min(outputs, len(rows))
    assert len(rows) <= 64
