"""Tensors in safetensors files, read piece by piece: no torch, no more than a piece in memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from infra.models import safetensors_header

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

PIECE_BYTES = 32 * 1024 * 1024

_BITS = {
    "F64": "<u8", "F32": "<u4", "F16": "<u2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1", "U8": "<u1", "BOOL": "<u1",
}  # fmt: skip
"""Type of a tensor → integers that hold its raw bits; numpy knows no bfloat16."""

_EXPONENT = {
    "F64": 0x7FF0_0000_0000_0000, "F32": 0x7F80_0000, "F16": 0x7C00, "BF16": 0x7F80,
}  # fmt: skip
"""Bits that are all set in NaN and in infinity, and in no other number."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a tensor lies."""

    name: str
    dtype: str
    """As safetensors spells it: `F16`, `BF16`, `I32`, …"""

    shape: tuple[int, ...]
    file: Path
    begin: int
    """Byte of the file at which its data begins."""

    size: int
    """Bytes."""

    @property
    def numbers(self) -> int:
        """How many it holds."""
        return math.prod(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether it holds numbers that may be NaN."""
        return self.dtype in _EXPONENT


def tensors_of(files: Iterable[Path]) -> dict[str, Tensor]:
    """Return every tensor of some safetensors files, in the order of files and data.

    Raises:
        CorruptWeights: A file is cut off, or is no safetensors file.
    """
    return {
        name: Tensor(name, entry.dtype, entry.shape, file, entry.begin, entry.size)
        for file in files
        for name, entry in safetensors_header.read(file).items()
    }


def pieces(tensor: Tensor) -> Iterator[Array]:
    """Yield the raw bits of a tensor as rows of its last dimension, some rows at a time.

    Types that are narrower than a byte or unknown here come as bytes.
    """
    kind = np.dtype(_BITS.get(tensor.dtype, "<u1"))
    width = tensor.shape[-1] if tensor.dtype in _BITS and tensor.shape else 1
    rows = max(1, PIECE_BYTES // max(1, width * kind.itemsize))
    left = tensor.size // kind.itemsize
    with tensor.file.open("rb", buffering=0) as stream:
        stream.seek(tensor.begin)
        while left:
            numbers = np.fromfile(stream, kind, min(left, rows * width))
            left -= numbers.size
            yield numbers.reshape(-1, width)


def rows_of(tensor: Tensor, first: int, count: int) -> Array:
    """Return some rows of a tensor of two dimensions, as raw bits."""
    kind = np.dtype(_BITS[tensor.dtype])
    width = tensor.shape[1]
    offset = tensor.begin + first * width * kind.itemsize
    return np.fromfile(tensor.file, kind, count * width, offset=offset).reshape(count, width)


def not_finite(bits: Array, dtype: str) -> int:
    """Return how many numbers are NaN or infinite."""
    mask = bits.dtype.type(_EXPONENT[dtype])
    return int(np.count_nonzero((bits & mask) == mask))


def floats(bits: Array, dtype: str) -> Array:
    """Return raw bits as the numbers they stand for, in float32 or wider."""
    if dtype == "BF16":  # the upper half of a float32
        return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    wide: Array = bits.view({"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype])
    return wide.astype(np.float32) if dtype == "F16" else wide
