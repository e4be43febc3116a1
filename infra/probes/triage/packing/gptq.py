"""The layout of AutoGPTQ and GPTQModel.

`qweight` [inputs * bits / 32, outputs] holds levels along inputs and `qzeros` [groups, outputs *
bits / 32] along outputs, both lowest bits first and without gaps; `scales` is [groups, outputs],
and `g_idx` says which group an input is of.
"""

from __future__ import annotations

import math
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
from infra.probes.triage.packing.words import WORD, unpack, words_for
from infra.probes.triage.tensors import Array, Tensor, all_of, columns_of, floats

METHODS = {"gptq": frozenset({None, "gptq", "gptq_v2"})}
LAYOUT = "GPTQ"
ONE_LAYOUT = ("gptq",)


@dataclass(frozen=True, slots=True)
class Gptq:
    """One layer."""

    qweight: Tensor
    qzeros: Tensor
    scale: Tensor
    g_idx: Tensor | None
    shape: Shape
    in_the_middle: bool
    """Whether zero is the middle level, whatever `qzeros` say: the engine does not look there."""

    less_one: bool
    """Whether `qzeros` hold each zero less one: the first of the two formats."""

    @property
    def layout(self) -> str:
        """Name of the layout."""
        return "GPTQ"

    def sample(self, rows: Array) -> Sample:
        """Decode the weights of some outputs; all of the layer is read."""
        bits, inputs, group = self.shape.bits, self.shape.inputs, self._groups()
        levels = unpack(columns_of(self.qweight, rows).T, bits, dense=True)[:, :inputs]
        scales = floats(columns_of(self.scale, rows), self.scale.dtype)[group].T
        if self.in_the_middle:
            return scaled(levels - (1 << (bits - 1)), scales)
        zeros = unpack(all_of(self.qzeros), bits, dense=True)[:, rows] + int(self.less_one)
        return scaled(levels - (zeros & ((1 << bits) - 1))[group].T, scales)

    def _groups(self) -> Array:
        """Return the group of each input."""
        if self.g_idx is not None:
            return all_of(self.g_idx).astype(np.int64)
        return np.arange(self.shape.inputs) // (self.shape.group or self.shape.inputs)


def read(
    parts: Parts, *, bits: int | None, symmetric: bool | None, less_one: bool = True
) -> Gptq | None:
    """Return the layer that some tensors are; none if they do not fit each other so.

    Args:
        parts: Name of a part → its tensor.
        bits: Of one weight, by the configuration: taken where shapes allow it.
        symmetric: Whether the configuration says that zeros are in the middle.
        less_one: Whether `qzeros` hold each zero less one.
    """
    qweight, qzeros, scale = (parts.get(name) for name in ("qweight", "qzeros", "scales"))
    if qweight is None or qzeros is None or scale is None:
        return None
    if not are_matrices(qweight, qzeros, scale) or not scale.is_whole:
        return None
    g_idx = parts.get("g_idx")
    if g_idx is not None and not g_idx.numbers:
        g_idx = None
    groups, outputs = scale.shape
    widths = sorted(range(2, 9), key=lambda one: one != bits)
    fit = [one for one in widths if qzeros.shape == (groups, words_for(outputs, one, dense=True))]
    width = fit[0] if fit else WORD
    inputs = g_idx.numbers if g_idx is not None else qweight.shape[0] * WORD // width
    fits = (
        bool(fit)
        and (qweight.dtype, qzeros.dtype) == ("I32", "I32")
        and qweight.shape == (words_for(inputs, width, dense=True), outputs)
        and (g_idx is None or are_groups(g_idx, inputs, groups))
    )
    shape = Shape(outputs, inputs, width, math.ceil(inputs / groups))
    return Gptq(qweight, qzeros, scale, g_idx, shape, bool(symmetric), less_one) if fits else None
