"""How many parameters a checkpoint has, however they are packed."""

from __future__ import annotations

from pathlib import Path

from infra.contracts.errors import AssayError
from infra.contracts.records import Quantization
from infra.models import gguf_file
from infra.models.safetensors_header import read

_PACKED = ("qweight", "weight_packed")
"""Last part of the names of tensors that hold several weights in each of their numbers."""

_PADDED = ("weight_packed",)
"""Of those that leave bits of a word empty which no whole weight fits in."""

_MAYBE_PACKED = "weight"
"""It does as well where its numbers are integers of more bits than a weight has."""

_BESIDE = (
    "qzeros", "scales", "g_idx", "weight_scale", "weight_scale_inv", "weight_zero_point",
    "weight_shape", "weight_g_idx", "weight_scale_2", "weight_global_scale", "input_scale",
    "input_global_scale", "absmax", "quant_map", "nested_absmax", "nested_quant_map",
)  # fmt: skip
"""Of those that say how to unpack them, which are no parameters."""

_STATE = "bitsandbytes__"
"""How the last part of the name of what bitsandbytes keeps beside a weight begins."""

_WORD_BITS = {"I32": 32, "I64": 64, "U8": 8, "I8": 8}


def count(folder: Path, quantization: Quantization | None) -> int | None:
    """Return the number of parameters in a folder's weight files; none if they do not say.

    Args:
        folder: The checkpoint.
        quantization: How it is quantized; none if it is not.
    """
    total = 0
    bits = _bits(quantization)
    try:
        if path := gguf_file.find(folder):
            return gguf_file.read(path).weights
        for file in sorted(folder.glob("*.safetensors")):
            for name, entry in read(file).items():
                last = name.rpartition(".")[2]
                if last in _BESIDE or last.startswith(_STATE):
                    continue
                numbers = 1
                for size in entry.shape:
                    numbers *= size
                if last in _PACKED:
                    word = _WORD_BITS.get(entry.dtype, 32)
                    if bits is None or (last in _PADDED and word % bits):
                        return None
                    numbers = numbers * word // bits
                elif last == _MAYBE_PACKED and bits and entry.dtype in _WORD_BITS:
                    numbers *= _WORD_BITS[entry.dtype] // bits
                total += numbers
    except (AssayError, OSError):
        return None
    return total or None


def _bits(quantization: Quantization | None) -> int | None:
    """Return the bits of a packed weight; none where layers have different ones."""
    schemes = quantization.schemes if quantization else ()
    bits = {scheme.bits for scheme in schemes}
    return bits.pop() if len(bits) == 1 else None
