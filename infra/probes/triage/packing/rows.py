"""The layout that compressed-tensors calls pack-quantized.

`weight_packed` [outputs, words] holds the levels of each row, counted from the lowest; they are
signed where scales apply. `weight_scale` is [outputs, groups], `weight_zero_point` the same packed
along outputs; `weight_shape` says how many levels are meant, `weight_g_idx` the group of an input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from infra.probes.triage.packing.base import (
    Parts,
    Sample,
    Shape,
    are_groups,
    are_matrices,
    scaled,
)
from infra.probes.triage.packing.words import per_word, unpack, words_for
from infra.probes.triage.tensors import Array, Tensor, all_of, floats, rows_of

FORMATS = ("pack-quantized",)
"""Of compressed-tensors."""


@dataclass(frozen=True, slots=True)
class PackedRows:
    """One layer."""

    packed: Tensor
    scale: Tensor
    zero: Tensor | None
    g_idx: Tensor | None
    shape: Shape
    dense: bool
    """Whether levels reach over from one word into the next."""

    @property
    def layout(self) -> str:
        """Name of the layout."""
        return "pack-quantized"

    def sample(self, rows: Array) -> Sample:
        """Decode the weights of some outputs."""
        bits, inputs, group = self.shape.bits, self.shape.inputs, self._groups()
        levels = unpack(rows_of(self.packed, rows), bits, dense=self.dense)[:, :inputs]
        scales = floats(rows_of(self.scale, rows), self.scale.dtype)[:, group]
        return scaled(levels - self._zeros(rows)[:, group], scales)

    def _zeros(self, rows: Array) -> Array:
        """Return the level of zero of each group of some outputs."""
        middle = 1 << (self.shape.bits - 1)
        if self.zero is None:
            return np.full((rows.size, self.scale.shape[1]), middle, np.int32)
        if self.zero.dtype == "I8":
            return rows_of(self.zero, rows).astype(np.int32) + middle
        return unpack(all_of(self.zero).T, self.shape.bits)[:, rows].T

    def _groups(self) -> Array:
        """Return the group of each input."""
        if self.g_idx is not None:
            return all_of(self.g_idx).astype(np.int64)
        return np.arange(self.shape.inputs) // (self.shape.group or self.shape.inputs)


def read(parts: Parts, *, bits: int | None) -> PackedRows | None:
    """Return the layer that some tensors are; none if they do not fit each other so.

    Args:
        parts: Name of a part → its tensor.
        bits: Of one weight, by the configuration: taken where shapes allow it.
    """
    packed, scale, meant = (parts.get(f"weight_{name}") for name in ("packed", "scale", "shape"))
    if packed is None or scale is None or not are_matrices(packed, scale):
        return None
    if packed.dtype != "I32" or not scale.is_whole:
        return None
    outputs, columns = packed.shape
    inputs = columns * per_word(bits or 8)
    if meant is not None and meant.numbers == 2:
        outputs, inputs = (int(one) for one in all_of(meant).ravel())
    width, dense = _width(inputs, columns, bits)
    groups = scale.shape[1]
    zero, g_idx = parts.get("weight_zero_point"), parts.get("weight_g_idx")
    zeros = {"I8": (outputs, groups), "I32": (words_for(outputs, width or 8), groups)}
    fits = (
        width is not None
        and (outputs, outputs) == (packed.shape[0], scale.shape[0])
        and not inputs % groups
        and (zero is None or zero.shape == zeros.get(zero.dtype))
        and (g_idx is None or are_groups(g_idx, inputs, groups))
    )
    shape = Shape(outputs, inputs, width or 8, inputs // groups)
    return PackedRows(packed, scale, zero, g_idx, shape, dense) if fits else None


def _width(inputs: int, columns: int, bits: int | None) -> tuple[int | None, bool]:
    """Return the bits of a level by how many words a row has, and whether they have no gaps."""
    for dense in (False, True):
        fit = [one for one in range(2, 9) if words_for(inputs, one, dense=dense) == columns]
        if fit:
            return (bits if bits in fit else fit[0]), dense
    return None, False
