"""Two floating-point numbers in each byte: NVFP4, with a scale for 16 of them, and MXFP4, for 32.

The packed weight is [outputs, inputs / 2], `weight_scale` [outputs, groups]. NVFP4 has one more
scale for the whole layer, by which compressed-tensors divides and ModelOpt multiplies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from infra.probes.triage.packing.base import Parts, Sample, Shape, are_matrices, scales_of
from infra.probes.triage.tensors import Array, Tensor, all_of, floats, rows_of

METHODS = {"modelopt_fp4": frozenset({"nvfp4", "w4a16_nvfp4"})}
FORMATS = ("nvfp4-pack-quantized", "mxfp4-pack-quantized")
"""Of compressed-tensors."""

_NUMBERS = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
_STEPS = np.array([0.5, 0.5, 0.5, 0.5, 1, 1, 2, 2], np.float32)
_GROUPS = {"F8_E4M3": 16, "F8_E8M0": 32, "U8": 32}
"""Type of the scales → inputs that share one; bytes are exponents."""


@dataclass(frozen=True, slots=True)
class FourBitFloats:
    """One layer."""

    packed: Tensor
    scale: Tensor
    of_all: Tensor | None
    divides: bool

    @property
    def layout(self) -> str:
        """Name of the layout."""
        return "NVFP4" if self.scale.dtype == "F8_E4M3" else "MXFP4"

    @property
    def shape(self) -> Shape:
        """What it holds."""
        outputs, pairs = self.packed.shape
        return Shape(outputs, 2 * pairs, 4, _GROUPS[self.scale.dtype])

    def sample(self, rows: Array) -> Sample:
        """Decode the weights of some outputs."""
        pairs = rows_of(self.packed, rows)
        nibbles = np.stack([pairs & 15, pairs >> 4], -1).reshape(len(pairs), -1)
        scales = scales_of(self.scale, rows)
        if self.of_all is not None:
            factor = floats(all_of(self.of_all), self.of_all.dtype).ravel()[0]
            with np.errstate(divide="ignore", invalid="ignore"):
                scales = scales / factor if self.divides else scales * factor
        scales = np.repeat(scales, _GROUPS[self.scale.dtype], axis=1)
        signs = np.where(nibbles & 8, np.float32(-1), np.float32(1))
        sizes = nibbles & 7
        return Sample(_NUMBERS[sizes] * signs * scales, _STEPS[sizes] * np.abs(scales))


def read(parts: Parts) -> FourBitFloats | None:
    """Return the layer that some tensors are; none if they do not fit each other so."""
    packed, scale = parts.get("weight_packed", parts.get("weight")), parts.get("weight_scale")
    if packed is None or scale is None or not are_matrices(packed, scale):
        return None
    if packed.dtype != "U8" or scale.dtype not in _GROUPS:
        return None
    outputs, pairs = packed.shape
    if scale.shape != (outputs, 2 * pairs // _GROUPS[scale.dtype]):
        return None
    divisor, factor = parts.get("weight_global_scale"), parts.get("weight_scale_2")
    of_all = divisor if divisor is not None else factor
    if of_all is not None and (of_all.numbers != 1 or not of_all.is_whole):
        return None
    return FourBitFloats(packed, scale, of_all, divisor is not None)
