"""Ways to make a checkpoint, each behind the same port.

port         what a method offers
making       what is the same for all: made once, verified, kept
worker       the scripts that do it, each in an environment of its own
unquantized  what they all refuse: a model that is quantized already
awq          AutoAWQ
compressed   llm-compressor: GPTQ, and the schemes of compressed-tensors
gguf         llama.cpp: one file in a mix of block formats
"""

from __future__ import annotations

from typing import Any

from infra.contracts.specs import Recipe
from infra.quantizers.awq import Awq
from infra.quantizers.compressed import CompressedTensors, Gptq
from infra.quantizers.gguf import Gguf
from infra.quantizers.port import Need, Quantizer

__all__ = ["Need", "Quantizer", "quantizer_of"]

_METHODS: dict[str, Quantizer[Any]] = {
    "awq": Awq(),
    "gptq": Gptq(),
    "compressed-tensors": CompressedTensors(),
    "gguf": Gguf(),
}


def quantizer_of(recipe: Recipe) -> Quantizer[Any]:
    """Return what carries out a recipe."""
    return _METHODS[recipe.method]
