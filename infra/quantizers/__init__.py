"""Ways to make a checkpoint, each behind the same port.

port         what a method offers
making       what is the same for all: made once, verified, kept
worker       the scripts that do it, each in an environment of its own
program      what those scripts share: how they answer, memory, how tensors are saved
sizes        of layers, and the groups of weights that share a scale
unquantized  what they all refuse: a model that is quantized already
awq          AutoAWQ
compressed   llm-compressor: GPTQ, and the schemes of compressed-tensors
merging      an adapter added to a model's weights
gguf         llama.cpp: one file in a mix of block formats
"""

from __future__ import annotations

from typing import Any

from infra.contracts.layout import Layout
from infra.contracts.specs import ArmSpec, Recipe
from infra.contracts.specs.quantization import RECIPES
from infra.quantizers.awq import Awq
from infra.quantizers.compressed import CompressedTensors, Gptq
from infra.quantizers.gguf import Gguf
from infra.quantizers.merging import Merge
from infra.quantizers.port import Need, Quantizer

__all__ = ["Need", "Quantizer", "makers_of", "methods_for", "programs_of", "quantizer_of"]

_METHODS: dict[str, Quantizer[Any]] = {
    "awq": Awq(),
    "gptq": Gptq(),
    "compressed-tensors": CompressedTensors(),
    "gguf": Gguf(),
    "merge": Merge(),
}


def quantizer_of(recipe: Recipe) -> Quantizer[Any]:
    """Return what carries out a recipe."""
    return _METHODS[recipe.method]


def methods_for(layout: Layout) -> list[str]:
    """Return the methods of recipes that make weights of a layout."""
    return [method for method in RECIPES if _METHODS[method].makes == layout]


def makers_of(arm: ArmSpec) -> tuple[Quantizer[Any], ...]:
    """Return what makes an arm's checkpoint, in the order of their use; none if nothing does."""
    merging = arm.adapter is not None and arm.adapter.merge
    methods = [*(["merge"] if merging else []), *([r.method] if (r := arm.quantization) else [])]
    return tuple(_METHODS[method] for method in methods)


def programs_of(arm: ArmSpec) -> tuple[str, ...]:
    """Return the environments that making an arm's checkpoint takes, in the order of their use."""
    return tuple(dict.fromkeys(maker.environment for maker in makers_of(arm)))
