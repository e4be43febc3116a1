"""One reader of headers, as strict as the library that will read the tensors."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from infra.contracts.errors import CorruptWeights
from infra.models import safetensors_header


def entry(begin: int, end: int, shape: list[Any] | None = None, dtype: str = "U8") -> Any:
    return {"dtype": dtype, "shape": shape or [end - begin], "data_offsets": [begin, end]}


def write(path: Path, header: object, data: int) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(data))
    return path


def test_what_the_library_wrote_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tensors = {
        "b": np.ones((3, 4), np.float16), "a": np.zeros(5, np.int32),
        "none": np.zeros((0, 2), np.float32), "scalar": np.array(1.0),
    }  # fmt: skip
    save_file(tensors, path, metadata={"format": "pt"})
    found = safetensors_header.read(path)
    assert {name: entry.shape for name, entry in found.items()} == {
        name: tensor.shape for name, tensor in tensors.items()
    }
    for name, one in found.items():
        assert path.read_bytes()[one.begin : one.begin + one.size] == tensors[name].tobytes()


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"a": entry(0, 8)}, 7),
        ({"a": entry(0, 8)}, 9),
        ({"a": entry(0, 4), "b": entry(5, 8)}, 8),
        ({"a": entry(0, 4), "b": entry(2, 6)}, 6),
        ({"a": entry(2, 6)}, 6),
        ({"a": entry(8, 0, [8])}, 8),
        ({"a": entry(0, 8, [9])}, 8),
        ({"a": entry(0, 8, [8], "F16")}, 8),
        ({"a": {"dtype": "U8", "shape": [1]}}, 1),
        ({"a": entry(0, 8, ["8"])}, 8),
        ({"a": entry(0, 8, [-8])}, 8),
        ({"a": 1}, 0),
        ([], 0),
        (b"nope", 0),
        (b"<html>", 64),
    ],
)
def test_what_the_library_refuses_is_refused_by_name(
    tmp_path: Path, header: object, data: int
) -> None:
    path = write(tmp_path / "model.safetensors", header, data)
    with pytest.raises(SafetensorError):
        safe_open(path, "np")
    with pytest.raises(CorruptWeights, match=re.escape(str(path))):
        safetensors_header.read(path)
