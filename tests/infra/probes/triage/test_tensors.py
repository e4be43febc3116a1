from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.probes.triage import tensors
from infra.probes.triage.tensors import (
    all_of,
    columns_of,
    count_not_finite,
    floats,
    pieces,
    rows_of,
    tensors_of,
)

KINDS = {"F16": np.float16, "F32": np.float32, "F64": np.float64}


def write(path: Path, **given: tuple[str, Any]) -> Path:
    """Write a safetensors file of raw arrays under any type."""
    header, begin, data = {}, 0, b""
    for name, (dtype, array) in given.items():
        raw = array.tobytes()
        header[name] = {
            "dtype": dtype, "shape": array.shape, "data_offsets": [begin, begin + len(raw)],
        }  # fmt: skip
        begin, data = begin + len(raw), data + raw
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def bfloat16(values: Any) -> Any:
    return (np.asarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["F16", "F32", "F64", "BF16"])
def test_what_is_not_finite_is_counted(tmp_path: Path, dtype: str, value: float) -> None:
    largest = 60_000.0
    numbers = np.array([[0.0, -1.5, largest], [value, -largest, value]])
    raw = bfloat16(numbers) if dtype == "BF16" else numbers.astype(KINDS[dtype])
    tensor = tensors_of([write(tmp_path / "m.safetensors", t=(dtype, raw))])["t"]
    assert count_not_finite(tensor) == 2


def test_bfloat16_is_read_without_torch(tmp_path: Path) -> None:
    numbers = np.array([[1.0, -2.5], [3.0e38, -1e-30]], np.float32)
    file = write(tmp_path / "m.safetensors", other=("F32", numbers), t=("BF16", bfloat16(numbers)))
    tensor = tensors_of([file])["t"]
    read = floats(rows_of(tensor, np.array([1])), "BF16")
    assert read == pytest.approx(numbers[1:], rel=0.01)


def test_pieces_are_the_whole_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "PIECE_BYTES", 64)
    numbers = np.arange(7 * 5, dtype=np.int32).reshape(7, 5)
    file = write(
        tmp_path / "m.safetensors", before=("U8", np.zeros(3, np.uint8)), t=("I32", numbers)
    )
    found = list(pieces(tensors_of([file])["t"]))
    assert len(found) == 3
    assert np.concatenate(found).tolist() == numbers.tolist()


@pytest.mark.parametrize("shape", [(), (0, 4), (3,)])
def test_any_shape_is_read(tmp_path: Path, shape: tuple[int, ...]) -> None:
    file = write(tmp_path / "m.safetensors", t=("F16", np.ones(shape, np.float16)))
    tensor = tensors_of([file])["t"]
    assert sum(piece.size for piece in pieces(tensor)) == tensor.numbers


def test_a_type_of_tomorrow_is_passed_over(tmp_path: Path) -> None:
    file = write(tmp_path / "m.safetensors", t=("F6_E2M3", np.zeros((2, 3), np.uint8)))
    tensor = tensors_of([file])["t"]
    assert not tensor.is_float
    assert sum(piece.size for piece in pieces(tensor)) == 6


def test_rows_and_columns_are_those_that_were_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensors, "PIECE_BYTES", 64)
    numbers = np.arange(9 * 5, dtype=np.int32).reshape(9, 5)
    file = write(
        tmp_path / "m.safetensors", before=("U8", np.zeros(3, np.uint8)), t=("I32", numbers)
    )
    tensor = tensors_of([file])["t"]
    for rows in ([0], [8], [2, 3, 4], [0, 1, 4, 7, 8]):
        assert rows_of(tensor, np.array(rows)).tolist() == numbers[rows].tolist()
    assert columns_of(tensor, np.array([4, 1])).tolist() == numbers[:, [4, 1]].tolist()
    assert all_of(tensor).tolist() == numbers.tolist()


@pytest.mark.parametrize(
    ("dtype", "bits", "number"),
    [
        # The examples of the Open Compute Project's specification of eight-bit floats.
        ("F8_E4M3", 0b0_1111_110, 448.0),
        ("F8_E4M3", 0b0_0001_000, 2.0**-6),
        ("F8_E4M3", 0b1_0000_111, -0.875 * 2.0**-6),
        ("F8_E4M3", 0b0_0000_001, 2.0**-9),
        ("F8_E4M3", 0b0_0111_000, 1.0),
        ("F8_E5M2", 0b0_11110_11, 57344.0),
        ("F8_E5M2", 0b1_00001_00, -(2.0**-14)),
        ("F8_E5M2", 0b0_00000_11, 0.75 * 2.0**-14),
        ("F8_E8M0", 127, 1.0),
        ("F8_E8M0", 120, 2.0**-7),
    ],
)
def test_eight_bit_floats_are_what_their_bits_say(dtype: str, bits: int, number: float) -> None:
    assert floats(np.array([bits], np.uint8), dtype) == [np.float32(number)]


@pytest.mark.parametrize(
    ("dtype", "broken"),
    [
        ("F8_E4M3", {0x7F, 0xFF}),
        ("F8_E5M2", {0x7C, 0x7D, 0x7E, 0x7F, 0xFC, 0xFD, 0xFE, 0xFF}),
        ("F8_E8M0", {0xFF}),
    ],
)
def test_eight_bit_floats_that_are_none_are_counted(
    tmp_path: Path, dtype: str, broken: set[int]
) -> None:
    bits = np.arange(256, dtype=np.uint8)
    tensor = tensors_of([write(tmp_path / "m.safetensors", t=(dtype, bits))])["t"]
    assert tensor.is_float
    assert not tensor.is_whole
    assert count_not_finite(tensor) == len(broken)
    assert set(np.flatnonzero(~np.isfinite(floats(bits, dtype))).tolist()) == broken
