"""How far the weights of a layer are those of the same layer in another checkpoint.

Methods may multiply inputs and outputs of a layer by positive numbers before they round. Neither
that nor rounding turns a sign, so a layer that is the other's has its signs, and any other has half
of them. Rid of such factors the weights differ by what rounding makes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from infra.probes.triage.packing import Sample
from infra.probes.triage.tensors import Array

LEAST_SIGNS = 0.9
"""Share of signs that a layer keeps: 0.98 with two bits, 0.993 with four, 1.0 with eight and
where layers were scaled first; 0.5 if it is another layer."""

MAGNITUDE = 20.0
"""How many times larger or smaller the median weight may be: 0.7 to 1.05 in the sample model
where inputs were scaled by what they carry, up to 6 where activations were smoothed."""

MOST_ROUNDING = 3.0
"""How many times what rounding to the nearest level makes an error may be: at most 1.65 for GPTQ
(rounded so that the layer's outputs change least), 1.0 for others. With all zero points off by one
it is 3.6."""

LEAST_ERROR = 0.2
"""Error up to which nothing is said against layers of eight bits: fine-tuning changes weights too,
by some hundredths."""

RELATED = 0.75
"""Share of signs from which on one layer was made from the other, though much has changed."""

MOST_ERROR = 0.9
"""Error of layers that have nothing in common is 1, for factors fit to nothing."""

_FEW = 8
_SAMPLED = 8
_FITTED = 3
_MOST_INPUTS = 1024


@dataclass(frozen=True, slots=True)
class Likeness:
    """How far one layer is another."""

    signs: float
    """Share of equal signs among the weights that neither of them has at zero."""

    magnitude: float
    """Median of absolute weights, of ours to theirs, among the same."""

    error: float
    """Root mean square of what is left without factors, in that of our weights."""

    rounding: float
    """What rounding to the nearest level would make of it."""

    @property
    def most_error(self) -> float:
        """The largest error that such bits allow."""
        return min(MOST_ERROR, max(LEAST_ERROR, MOST_ROUNDING * self.rounding))

    @property
    def same(self) -> bool:
        """Whether it is the same layer. Numbers that are NaN are those of no layer."""
        return (
            self.signs >= LEAST_SIGNS
            and 1 / MAGNITUDE < self.magnitude < MAGNITUDE
            and self.error <= self.most_error
        )


NOTHING_ALIKE = Likeness(signs=0.0, magnitude=math.nan, error=math.nan, rounding=math.nan)


def sampled_rows(outputs: int) -> Array:
    """Return which rows of a layer are compared: some runs of eight, spread over the layer."""
    runs = math.ceil(outputs / _FEW)
    chosen = np.unique(np.linspace(0, runs - 1, min(runs, _SAMPLED)).astype(int))
    rows = (chosen[:, None] * _FEW + np.arange(_FEW)).ravel()
    return rows[rows < outputs]


def compare(ours: Sample, theirs: Sample) -> Likeness | None:
    """Compare rows of a layer with the same rows of another checkpoint's.

    Of long rows every second or third weight is enough.

    Returns:
        None if the other has no weights other than zero there.
    """
    every = math.ceil(ours.values.shape[1] / _MOST_INPUTS)
    mine, other = ours.values[:, ::every], theirs.values[:, ::every]
    there = other != 0
    if not there.any():
        return None
    both = there & (mine != 0)
    signs = np.signbit(mine[both]) == np.signbit(other[both])
    power = _mean_square(mine)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        steps = sum(_mean_square(one.steps[:, ::every]) for one in (ours, theirs))
        return Likeness(
            # Weights that are nearly all zero would leave a handful of signs to judge by.
            signs=float(signs.mean()) if both.sum() * 10 > there.sum() else 0.0,
            magnitude=_median(mine[both]) / _median(other[both]) if both.any() else 0.0,
            error=math.sqrt(_mean_square(mine - _fitted(mine, other)) / power) if power else 1.0,
            rounding=math.sqrt(steps / 12 / power) if power else 0.0,
        )


def _fitted(ours: Array, theirs: Array) -> Array:
    """Return the other's weights with each row and each column multiplied so as to be like ours."""
    columns = np.ones((1, ours.shape[1]), np.float32)
    fitted = theirs
    for _ in range(_FITTED):
        fitted = theirs * columns
        fitted = fitted * _factor(ours, fitted, axis=1)
        columns = columns * _factor(ours, fitted, axis=0)
    return theirs * columns * _factor(ours, theirs * columns, axis=1)


def _factor(ours: Array, theirs: Array, axis: int) -> Array:
    power = (theirs * theirs).sum(axis, keepdims=True)
    product = (ours * theirs).sum(axis, keepdims=True)
    factor: Array = np.divide(product, power, out=np.ones_like(power), where=power > 0)
    return factor


def _median(values: Array) -> float:
    return float(np.median(np.abs(values)))


def _mean_square(values: Array) -> float:
    return float(np.mean(np.square(values, dtype=np.float64)))
