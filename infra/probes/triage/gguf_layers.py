"""The tensors of a GGUF file: decoded by rows, and found again among those of the original.

llama.cpp's converter gives tensors other names, joins experts, and turns the rows of queries and
keys of some architectures, in which rotary embeddings pair other numbers than elsewhere.
"""

from __future__ import annotations

import numpy as np
from gguf import GGML_QUANT_SIZES, MODEL_ARCH_NAMES, ReaderTensor, get_tensor_name_map, quants

from infra.models.gguf_file import WHOLE, GgufFile
from infra.probes.triage.layers import Layer
from infra.probes.triage.likeness import Likeness, compare, sampled_rows
from infra.probes.triage.packing import Sample
from infra.probes.triage.tensors import Array, Tensor

_PIECE_BYTES = 32 * 1024 * 1024

_SCALES = {
    "Q4_0": (0, 1), "Q4_1": (0, 2), "Q5_0": (0, 1), "Q5_1": (0, 2), "Q8_0": (0, 1),
    "Q2_K": (80, 2), "Q3_K": (108, 1), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208, 1),
}  # fmt: skip
"""Format → byte of a block at which its float16 scales begin, and how many: all else is whole
numbers, so these decide whether a weight is finite."""

_GRIDS = {
    "Q4_0": (32, 16, True), "Q4_1": (32, 16, False), "Q5_0": (32, 32, True),
    "Q5_1": (32, 32, False), "Q8_0": (32, 255, True), "Q2_K": (16, 4, False),
    "Q3_K": (16, 8, True), "Q4_K": (32, 16, False), "Q5_K": (32, 32, False),
    "Q6_K": (16, 64, True),
}  # fmt: skip
"""Format → weights that share a scale, levels, and whether zero is in the middle of them."""

_TURNED = ("attn_q.", "attn_k.", "attn_qkv.")
"""Parts of names of the matrices whose rows the converter may put in another order."""


def block_bytes(tensor: ReaderTensor) -> int:
    """Return how many bytes one block of a tensor takes."""
    return int(GGML_QUANT_SIZES[tensor.tensor_type][1])


def faults(tensor: ReaderTensor) -> tuple[int, int]:
    """Return how many numbers of a tensor, or scales of its blocks, are not finite, and are zero.

    Zeros of what is not stored in blocks are not counted. Formats unknown here have no faults.
    """
    kind = tensor.tensor_type.name
    rows = tensor.data.reshape(-1, tensor.data.shape[-1])
    step = max(1, _PIECE_BYTES // max(1, rows[:1].nbytes))
    infinite = zero = 0
    for start in range(0, len(rows), step):
        piece = rows[start : start + step]
        if kind in {"F64", "F32", "F16"}:
            infinite += int(np.count_nonzero(~np.isfinite(piece)))
        elif kind == "BF16":
            bits = np.ascontiguousarray(piece).view(np.uint16)
            infinite += int(np.count_nonzero((bits & 0x7F80) == 0x7F80))
        elif kind in _SCALES:
            begin, count = _SCALES[kind]
            blocks = piece.reshape(-1, block_bytes(tensor))
            raw = np.ascontiguousarray(blocks[:, begin : begin + 2 * count])
            scales = raw.view(np.float16)
            infinite += int(np.count_nonzero(~np.isfinite(scales).all(axis=1)))
            zero += int(np.count_nonzero(scales[:, 0] == 0))
    return infinite, zero


def blocks_of(tensor: ReaderTensor) -> int:
    """Return how many blocks a tensor has; 0 where it is not stored in blocks."""
    if tensor.tensor_type.name not in _SCALES:
        return 0
    return int(tensor.n_bytes) // block_bytes(tensor)


def names(file: GgufFile, others: dict[str, Tensor]) -> dict[str, str]:
    """Return the name in a GGUF file → the original's, as far as converters keep tensors apart."""
    kind = next((one for one, name in MODEL_ARCH_NAMES.items() if name == file.architecture), None)
    if kind is None:
        return {}
    table = get_tensor_name_map(kind, int(file.value("{}.block_count") or 0))
    found = {}
    for name in others:
        renamed = table.get_name(name, (".weight", ".bias"))
        if renamed is not None:
            found[renamed] = name
    return found


def likeness(file: GgufFile, tensor: ReaderTensor, theirs: Layer) -> Likeness | None:
    """Compare a matrix with the original's; none if it cannot be said."""
    outputs, inputs = (int(one) for one in reversed(tensor.shape))
    if theirs.shape != (outputs, inputs):
        return None  # padded, joined or split
    rows = sampled_rows(outputs)
    mine = sample(tensor, rows)
    if mine is None:
        return None
    orders = [rows]
    if turned := any(part in tensor.name for part in _TURNED):
        orders += _orders(file, tensor.name, outputs, rows)
    best: Likeness | None = None
    for order in orders:
        there = _rows(theirs, order)
        one = compare(mine, there) if there else None
        if one is not None and (best is None or one.signs > best.signs):
            best = one
    # In an order that is not guessed here: nothing is said.
    return None if turned and best is not None and not best.same else best


def sample(tensor: ReaderTensor, rows: Array) -> Sample | None:
    """Decode some rows; none if the format is not decoded here."""
    kind = tensor.tensor_type.name
    if kind not in WHOLE and kind not in _GRIDS:
        return None
    values = quants.dequantize(np.ascontiguousarray(tensor.data[rows]), tensor.tensor_type)
    values = np.asarray(values, dtype=np.float32)
    if kind in WHOLE:
        return Sample(values, np.zeros((1, 1), np.float32))
    group, levels, centred = _GRIDS[kind]
    grouped = values.reshape(len(rows), -1, group)
    largest, smallest = grouped.max(axis=2), grouped.min(axis=2)
    span = 2 * np.maximum(largest, -smallest) if centred else largest - smallest
    return Sample(values, np.repeat(span / (levels - 1), group, axis=1))


def _orders(file: GgufFile, name: str, outputs: int, rows: Array) -> list[Array]:
    """Return which rows of the original some rows may be, were they turned for rotary embedding."""
    heads = file.value("{}.attention.head_count")
    if "attn_k." in name:
        heads = file.value("{}.attention.head_count_kv") or heads
    if not isinstance(heads, int) or heads < 1 or outputs % (2 * heads):
        return []
    return [np.arange(outputs).reshape(heads, 2, -1).swapaxes(1, 2).ravel()[rows]]


def _rows(layer: Layer, rows: Array) -> Sample | None:
    """Decode rows of the original in any order."""
    ascending = np.sort(rows)
    found = layer.sample(ascending)
    if found is None:
        return None
    place = np.searchsorted(ascending, rows)
    steps = found.steps if found.steps.shape[0] == 1 else found.steps[place]
    return Sample(found.values[place], steps)
