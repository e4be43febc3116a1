"""How much memory and disk a GGUF file takes to be made: a pure estimate."""

from __future__ import annotations

from infra.contracts.specs import GgufSpec
from infra.models.memory_need import GIB, Shape
from infra.quantizers.port import Need

_PROGRAM_BYTES = GIB
"""What the converter takes besides the model: torch, transformers, the vocabulary in texts."""

_COPIES = 3
"""How often the largest matrix exists in float32 while it is converted or quantized."""

_PIECE = 512
"""Tokens that are evaluated at a time, with all of their logits."""

_ACTIVATIONS = 8
"""How often the widest activation of a layer exists at a time."""

_SHARES = {
    "f32": 2.0, "f16": 1.0, "q8_0": 0.54, "q6_k": 0.54, "q5_k_m": 0.42, "q4_k_m": 0.38,
    "q3_k_m": 0.34,
}  # fmt: skip
"""Type → bytes over those of 16 bits a weight, on the safe side: rows that do not fit its blocks
take the next larger format, and embeddings have six bits at least."""


def need(shape: Shape, recipe: GgufSpec) -> Need:
    """Return what it needs in main memory; it computes on the processor alone.

    Files are read and written tensor by tensor; only an importance matrix needs the whole model.
    """
    largest = max(shape.vocabulary, shape.intermediate) * shape.hidden * 4
    host = _PROGRAM_BYTES + _COPIES * largest
    if recipe.importance:
        logits = _PIECE * shape.vocabulary * 4
        activations = _PIECE * _ACTIVATIONS * shape.intermediate * 4
        host += shape.parameters * shape.stored_width + logits + activations
    return Need(host, 0)


def share(shape: Shape, recipe: GgufSpec) -> float:
    """Return the bytes that it takes on the disk, over those of 16 bits a weight.

    The unrounded file that it is quantized from is there until it is done.
    """
    source = 0.0 if recipe.type in {"f32", "f16"} else shape.stored_width / 2
    return _SHARES[recipe.type] + source
