"""How many parameters a checkpoint has, however they are packed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.contracts.errors import AssayError
from infra.models.safetensors_header import read

_PACKED = ("qweight", "weight_packed")
"""Last part of the names of tensors that hold several weights in each of their numbers."""

_BESIDE = (
    "qzeros", "scales", "g_idx", "weight_scale", "weight_scale_inv", "weight_zero_point",
    "weight_shape", "input_scale", "absmax", "quant_map",
)  # fmt: skip
"""Of those that say how to unpack them, which are no parameters."""

_WORD_BITS = {"I32": 32, "I64": 64, "U8": 8, "I8": 8}


def count(folder: Path, config: Mapping[str, Any] | None) -> int | None:
    """Return the number of parameters in a folder's safetensors files; none if it cannot be told.

    Args:
        folder: The checkpoint.
        config: Its `quantization_config`; none if it is not quantized.
    """
    total = 0
    bits = _bits(config)
    try:
        for file in sorted(folder.glob("*.safetensors")):
            for name, entry in read(file).items():
                last = name.rpartition(".")[2]
                if last in _BESIDE:
                    continue
                numbers = 1
                for size in entry.shape:
                    numbers *= size
                if last in _PACKED:
                    if bits is None:
                        return None
                    numbers *= _WORD_BITS.get(entry.dtype, 32) // bits
                total += numbers
    except (AssayError, OSError):
        return None
    return total or None


def _bits(config: Mapping[str, Any] | None) -> int | None:
    if not config:
        return None
    groups = config.get("config_groups")
    if isinstance(groups, Mapping) and groups:
        first = next(iter(groups.values()))
        bits = (first.get("weights") or {}).get("num_bits")
    else:
        bits = config.get("bits") or config.get("w_bit")
    return bits if isinstance(bits, int) and bits > 0 else None
