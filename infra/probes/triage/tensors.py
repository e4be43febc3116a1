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
    "F8_E4M3": "<u1", "F8_E5M2": "<u1", "F8_E8M0": "<u1",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "<u1",
}  # fmt: skip
"""Type of a tensor → integers that hold its raw bits; numpy knows no bfloat16 and no eight bits."""

_NOT_FINITE = {
    "F64": 0x7FF0_0000_0000_0000, "F32": 0x7F80_0000, "F16": 0x7C00, "BF16": 0x7F80,
    "F8_E4M3": 0x7F, "F8_E5M2": 0x7C, "F8_E8M0": 0xFF,
}  # fmt: skip
"""Bits that are all set in NaN and in infinity, and in no other number."""

_WHOLE = {"F64", "F32", "F16", "BF16"}


def _eight_bit_numbers() -> dict[str, Array]:
    """Return what each of the 256 bit patterns of an eight-bit float stands for."""
    bits = np.arange(256, dtype=np.uint8)
    sign = np.where(bits & 0x80, -1.0, 1.0)
    exponent, fraction = (bits >> 3 & 15).astype(np.int32), (bits & 7) / 8
    # https://arxiv.org/abs/2209.05433: no infinity, one NaN of each sign.
    e4m3 = sign * np.where(exponent, (1 + fraction) * 2.0 ** (exponent - 7), fraction * 2.0**-6)
    e4m3[(bits & 0x7F) == 0x7F] = np.nan
    e8m0 = 2.0 ** (bits.astype(np.float64) - 127)
    e8m0[255] = np.nan
    e5m2 = (bits.astype(np.uint16) << 8).view(np.float16)  # the upper half of a float16
    tables = {"F8_E4M3": e4m3, "F8_E5M2": e5m2, "F8_E8M0": e8m0}
    return {dtype: table.astype(np.float32) for dtype, table in tables.items()}


_EIGHT = _eight_bit_numbers()


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
        return self.dtype in _NOT_FINITE

    @property
    def is_whole(self) -> bool:
        """Whether it holds numbers with which models compute: floats of 16 bits and more."""
        return self.dtype in _WHOLE


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


def all_of(tensor: Tensor) -> Array:
    """Return a small tensor's raw bits in its shape."""
    kind = np.dtype(_BITS[tensor.dtype])
    count = tensor.size // kind.itemsize
    return np.fromfile(tensor.file, kind, count, offset=tensor.begin).reshape(tensor.shape)


def rows_of(tensor: Tensor, rows: Array) -> Array:
    """Return some rows of a tensor of two dimensions, as raw bits.

    Args:
        tensor: The tensor.
        rows: Their numbers, ascending; what follows each other is read at once.
    """
    kind = np.dtype(_BITS[tensor.dtype])
    width = tensor.shape[1]
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    found = [
        np.fromfile(
            tensor.file,
            kind,
            run.size * width,
            offset=tensor.begin + int(run[0]) * width * kind.itemsize,
        ).reshape(run.size, width)
        for run in np.split(rows, breaks)
    ]
    return np.concatenate(found)


def columns_of(tensor: Tensor, columns: Array) -> Array:
    """Return some columns of a tensor of two dimensions, as raw bits; all of it is read."""
    return np.concatenate([piece[:, columns] for piece in pieces(tensor)])


def not_finite(bits: Array, dtype: str) -> int:
    """Return how many numbers are NaN or infinite."""
    mask = bits.dtype.type(_NOT_FINITE[dtype])
    return int(np.count_nonzero((bits & mask) == mask))


def count_not_finite(tensor: Tensor) -> int:
    """Return how many numbers of a tensor are NaN or infinite."""
    return sum(not_finite(piece, tensor.dtype) for piece in pieces(tensor))


def floats(bits: Array, dtype: str) -> Array:
    """Return raw bits as the numbers they stand for, in float32 or wider."""
    if dtype in _EIGHT:
        return _EIGHT[dtype][bits]
    if dtype == "BF16":  # the upper half of a float32
        return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    wide: Array = bits.view({"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype])
    return wide.astype(np.float32) if dtype == "F16" else wide
