"""What every layout of weights can do: show some rows of them, decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from infra.probes.triage.tensors import Array, Tensor, all_of, floats, rows_of

Parts: TypeAlias = Mapping[str, Tensor]
"""Name of a part of a layer, such as `qweight` → its tensor."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Some rows of a layer's weight, [outputs, inputs]."""

    values: Array
    steps: Array
    """How far neighbouring levels are from each other at each weight; 0 if it is not rounded."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a layout says about the weight that it holds."""

    outputs: int
    """Numbers that the layer gives."""

    inputs: int
    """Numbers that the layer takes."""

    bits: int
    """Of one weight."""

    group: int | None = None
    """Inputs of one row that share a scale; none if scales are not of such groups."""


class Packing(Protocol):
    """The packed weight of one layer."""

    @property
    def layout(self) -> str:
        """Name of the layout, for people."""

    @property
    def shape(self) -> Shape:
        """What it holds."""

    @property
    def scale(self) -> Tensor:
        """The scales that are next to the weights."""

    def sample(self, rows: Array) -> Sample:
        """Decode the weights of some outputs.

        Args:
            rows: Their numbers, ascending.
        """


def scaled(levels: Array, scales: Array) -> Sample:
    """Return levels, which are counted from the level of zero, as weights."""
    with np.errstate(invalid="ignore"):  # a broken scale makes NaN, and NaN is unlike everything
        return Sample(levels * scales, np.broadcast_to(np.abs(scales), levels.shape))


def scales_of(tensor: Tensor, rows: Array | None = None) -> Array:
    """Return scales as numbers, all of them or some rows of them.

    Bytes are exponents, as the MX formats have them.
    """
    bits = all_of(tensor) if rows is None else rows_of(tensor, rows)
    return floats(bits, "F8_E8M0" if tensor.dtype == "U8" else tensor.dtype)


def are_matrices(*tensors: Tensor) -> bool:
    """Tell whether tensors have two dimensions, none of them empty."""
    return all(len(tensor.shape) == 2 and tensor.numbers for tensor in tensors)


def are_groups(g_idx: Tensor, inputs: int, groups: int) -> bool:
    """Tell whether a tensor says for each input which group it is of."""
    indices = all_of(g_idx)
    return indices.shape == (inputs,) and bool(indices.min() >= 0 and indices.max() < groups)
