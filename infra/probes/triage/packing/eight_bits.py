"""A number of eight bits for each weight, whole (int8) or floating (FP8), as many programs have it.

`weight` is [outputs, inputs]. The scale is one number, one a row, or one for each group of a row or
block of rows and inputs: `weight_scale`, or DeepSeek's `weight_scale_inv`, which is no inverse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from infra.probes.triage.packing.base import Parts, Sample, Shape, are_matrices, scaled, scales_of
from infra.probes.triage.tensors import Array, Tensor, all_of, floats, rows_of

METHODS = {
    "fp8": None,
    "fbgemm_fp8": None,
    "modelopt": frozenset({"fp8", "fp8_pb_wo", "fp8_per_channel_per_token"}),
    "modelopt_mxfp8": frozenset({"mxfp8"}),
}
FORMATS = ("int-quantized", "float-quantized", "naive-quantized", "mxfp8-quantized")
"""Of compressed-tensors."""
LAYOUT = "FP8"
ONE_LAYOUT = ("fp8", "fbgemm_fp8")

_FRACTION = {"F8_E4M3": (3, -6), "F8_E5M2": (2, -14)}
"""Bits of the fraction, and the exponent below which levels come no closer."""

_SCALES = ("weight_scale", "weight_scale_inv")


@dataclass(frozen=True, slots=True)
class EightBits:
    """One layer."""

    weight: Tensor
    scale: Tensor
    zero: Tensor | None
    block: tuple[int, int]
    """Rows and inputs that share a scale."""

    @property
    def layout(self) -> str:
        """Name of the layout."""
        return "int8" if self.weight.dtype == "I8" else "FP8"

    @property
    def shape(self) -> Shape:
        """What it holds."""
        outputs, inputs = self.weight.shape
        return Shape(outputs, inputs, 8, self.block[1] if self.block[0] == 1 else None)

    def sample(self, rows: Array) -> Sample:
        """Decode the weights of some outputs."""
        bits = rows_of(self.weight, rows)
        scales = self._spread(scales_of(self.scale), rows)
        if self.weight.dtype == "I8":
            zeros = 0 if self.zero is None else self._spread(all_of(self.zero), rows)
            return scaled(bits.astype(np.int32) - zeros, scales)
        numbers = floats(bits, self.weight.dtype)
        fraction, least = _FRACTION[self.weight.dtype]
        exponents = np.frexp(np.nan_to_num(numbers))[1] - 1
        steps = np.exp2(np.maximum(exponents, least) - fraction).astype(np.float32)
        return Sample(numbers * scales, steps * np.abs(scales))

    def _spread(self, scales: Array, rows: Array) -> Array:
        """Return what holds for each weight of some rows."""
        table = scales.reshape(math.ceil(self.weight.shape[0] / self.block[0]), -1)
        columns = np.arange(self.weight.shape[1]) // self.block[1]
        spread: Array = table[rows // self.block[0]][:, columns]
        return spread


def read(parts: Parts, *, block: tuple[int, int] | None) -> EightBits | None:
    """Return the layer that some tensors are; none if they do not fit each other so.

    Args:
        parts: Name of a part → its tensor.
        block: Rows and inputs that share a scale, if the configuration says it.
    """
    weight, zero = parts.get("weight"), parts.get("weight_zero_point")
    scale = next((parts[name] for name in _SCALES if name in parts), None)
    if weight is None or scale is None or not are_matrices(weight):
        return None
    if weight.dtype not in {"I8", *_FRACTION} or not (scale.is_float or scale.dtype == "U8"):
        return None
    found = _block(weight.shape, scale.shape, block or (128, 128))
    if found is None:
        return None
    if zero is not None and (zero.dtype != "I8" or zero.numbers != scale.numbers):
        return None
    return EightBits(weight, scale, zero, found)


def _block(
    weight: tuple[int, ...], scale: tuple[int, ...], wanted: tuple[int, int]
) -> tuple[int, int] | None:
    """Return how many rows and inputs share a scale, by the shape of the scales."""
    outputs, inputs = weight
    if math.prod(scale) == 1:
        return outputs, inputs
    if scale in {(outputs,), (outputs, 1)}:
        return 1, inputs
    if len(scale) != 2:
        return None
    if scale == (math.ceil(outputs / wanted[0]), math.ceil(inputs / wanted[1])):
        return wanted
    if scale[0] == outputs and scale[1] and not inputs % scale[1]:
        return 1, inputs // scale[1]
    return None
