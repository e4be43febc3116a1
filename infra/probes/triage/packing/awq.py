"""The layout that AutoAWQ calls GEMM.

`qweight` [inputs, outputs / 8] and `qzeros` [groups, outputs / 8] hold eight levels of four bits in
each word, in an order of their own; `scales` is [groups, outputs].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from infra.probes.triage.packing.base import Parts, Sample, Shape, are_matrices, scaled
from infra.probes.triage.packing.words import per_word, unpack
from infra.probes.triage.tensors import Array, Tensor, columns_of, floats

METHODS = {"awq": frozenset({None, "gemm"})}
LAYOUT = "AWQ"
ONE_LAYOUT = ("awq",)

_BITS = 4
_ORDER = np.argsort((0, 2, 4, 6, 1, 3, 5, 7))
"""Which four bits of a word, counted from the lowest, hold each of its eight outputs."""


@dataclass(frozen=True, slots=True)
class Awq:
    """One layer."""

    qweight: Tensor
    qzeros: Tensor
    scale: Tensor

    @property
    def layout(self) -> str:
        """Name of the layout."""
        return LAYOUT

    @property
    def shape(self) -> Shape:
        """What it holds."""
        inputs, (groups, outputs) = self.qweight.shape[0], self.scale.shape
        return Shape(outputs, inputs, _BITS, inputs // groups)

    def sample(self, rows: Array) -> Sample:
        """Decode the weights of some outputs; all of the layer is read."""
        group = np.arange(self.shape.inputs) // (self.shape.group or 1)
        levels, zeros = self._levels(self.qweight, rows), self._levels(self.qzeros, rows)
        scales = floats(columns_of(self.scale, rows), self.scale.dtype)
        return scaled((levels - zeros[group]).T, scales[group].T)

    @staticmethod
    def _levels(tensor: Tensor, rows: Array) -> Array:
        words = np.unique(rows // per_word(_BITS))
        levels = unpack(columns_of(tensor, words), _BITS)
        levels = levels.reshape(-1, words.size, per_word(_BITS))[..., _ORDER]
        return levels[:, np.searchsorted(words, rows // per_word(_BITS)), rows % per_word(_BITS)]


def read(parts: Parts) -> Awq | None:
    """Return the layer that some tensors are; none if they do not fit each other so."""
    qweight, qzeros, scale = (parts.get(name) for name in ("qweight", "qzeros", "scales"))
    if qweight is None or qzeros is None or scale is None:
        return None
    if not are_matrices(qweight, qzeros, scale) or not scale.is_whole:
        return None
    groups, outputs = scale.shape
    words, rest = divmod(outputs, per_word(_BITS))
    fits = (
        (qweight.dtype, qzeros.dtype) == ("I32", "I32")
        and not rest
        and qweight.shape[1] == words
        and qzeros.shape == (groups, words)
        and not qweight.shape[0] % groups
    )
    return Awq(qweight, qzeros, scale) if fits else None
