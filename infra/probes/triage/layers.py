"""The quantized layers of an AWQ checkpoint: how they are packed, and what is measured of each.

Layout that AutoAWQ calls GEMM: `qweight` [inputs, outputs / 8] and `qzeros` [groups, outputs / 8]
hold eight levels of four bits in each 32-bit word, `scales` is [groups, outputs]. A weight is
(level - zero) * scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from infra.probes.triage.tensors import Array, Tensor, floats, not_finite, pieces, rows_of

BITS, PACKED = 4, 8
_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of its eight outputs each four bits of a word hold, lowest bits first."""

_SAMPLED_WORDS = 8
"""Words of each row that are compared with the baseline: 64 outputs, spread over the layer."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The three tensors of one layer."""

    qweight: Tensor
    qzeros: Tensor
    scales: Tensor

    @property
    def inputs(self) -> int:
        """Numbers it takes."""
        return self.qweight.shape[0]

    @property
    def outputs(self) -> int:
        """Numbers it gives."""
        return self.qweight.shape[1] * PACKED


@dataclass(frozen=True, slots=True)
class Scales:
    """What the scales of one layer are."""

    not_positive: int
    """How many are zero, negative or NaN."""

    total: int
    median: float
    largest: float


@dataclass(frozen=True, slots=True)
class Likeness:
    """How far a layer's weights are those of the baseline."""

    signs: float
    """Share of equal signs among the weights that neither of them has at zero."""

    magnitude: float
    """Median of absolute weights, quantized to base."""


def layers_of(tensors: dict[str, Tensor]) -> tuple[dict[str, Layer], list[str]]:
    """Return the layers that have all three tensors, and the names of those that lack one."""
    parts = ("qweight", "qzeros", "scales")
    names = [name.rpartition(".")[0] for name in tensors if name.endswith((".qweight", ".qzeros"))]
    layers, torn = {}, []
    for name in dict.fromkeys(names):
        found = [tensors[f"{name}.{part}"] for part in parts if f"{name}.{part}" in tensors]
        if len(found) == len(parts):
            layers[name] = Layer(*found)
        else:
            torn.append(name)
    return layers, torn


def is_misshapen(layer: Layer, group_size: int) -> bool:
    """Tell whether the tensors of a layer do not fit each other and the size of its groups."""
    shapes = [layer.qweight.shape, layer.qzeros.shape, layer.scales.shape]
    kinds = (layer.qweight.dtype, layer.qzeros.dtype, layer.scales.is_float)
    if any(len(shape) != 2 for shape in shapes) or kinds != ("I32", "I32", True):
        return True
    groups, rest = divmod(layer.inputs, group_size)
    wanted = [
        (layer.inputs, layer.outputs // PACKED),
        (groups, layer.outputs // PACKED),
        (groups, layer.outputs),
    ]
    return bool(rest) or shapes != wanted


def look_at_scales(layer: Layer) -> Scales:
    """Measure the scales of a layer."""
    values = floats(rows_of(layer.scales, 0, layer.scales.shape[0]), layer.scales.dtype)
    good = values[np.isfinite(values) & (values > 0)]
    return Scales(
        not_positive=int(values.size - good.size),
        total=int(values.size),
        median=float(np.median(good)) if good.size else 0.0,
        largest=float(good.max()) if good.size else 0.0,
    )


def compare(layer: Layer, baseline: Tensor) -> Likeness | None:
    """Compare a sample of a layer's weights with the baseline's.

    AWQ multiplies inputs and outputs of a layer by positive numbers and rounds: neither turns a
    sign, so a layer that is the base's has its signs, and any other has half of them.

    Args:
        layer: The layer, of sound shapes.
        baseline: `weight` of the same layer, [outputs, inputs].

    Returns:
        None if the base has no weights other than zero there.
    """
    count = layer.qweight.shape[1]
    words = np.unique(np.linspace(0, count - 1, min(count, _SAMPLED_WORDS)).astype(int))
    columns = (words[:, None] * PACKED + np.arange(PACKED)).ravel()
    levels = _unpack(np.concatenate([piece[:, words] for piece in pieces(layer.qweight)]))
    groups = layer.scales.shape[0]
    zeros = _unpack(rows_of(layer.qzeros, 0, groups)[:, words])
    scales = floats(rows_of(layer.scales, 0, groups), layer.scales.dtype)[:, columns]
    steps = levels - np.repeat(zeros, layer.inputs // groups, axis=0)
    rows = [floats(rows_of(baseline, int(word) * PACKED, PACKED), baseline.dtype) for word in words]
    theirs = np.concatenate(rows).T
    there = theirs != 0
    if not there.any():
        return None
    both = there & (steps != 0)
    with np.errstate(invalid="ignore"):  # a broken scale makes NaN, and NaN is unlike everything
        ours = np.abs(steps * np.repeat(scales, layer.inputs // groups, axis=0))
    signs = np.signbit(steps[both].astype(np.float32)) == np.signbit(theirs[both])
    usual = float(np.median(np.abs(theirs[there])))
    return Likeness(
        # Steps that are nearly all zero would leave a handful of signs to judge by.
        signs=float(signs.mean()) if both.sum() * 10 > there.sum() else 0.0,
        magnitude=float(np.median(ours[there])) / usual,
    )


def count_not_finite(tensor: Tensor) -> int:
    """Return how many numbers of a tensor are NaN or infinite."""
    return sum(not_finite(piece, tensor.dtype) for piece in pieces(tensor))


def _unpack(words: Array) -> Array:
    """Return the levels in packed words, [rows, words] → [rows, 8 * words]."""
    bits = np.ascontiguousarray(words).view(np.uint32)
    levels = np.empty((*bits.shape, PACKED), np.int8)
    for place, output in enumerate(_ORDER):
        levels[..., output] = (bits >> np.uint32(BITS * place)) & np.uint32(15)
    return levels.reshape(bits.shape[0], -1)
