"""Recipes in the words of compressed-tensors: groups of layers, and what becomes of each."""

from __future__ import annotations

from typing import Any

from infra.contracts.specs import CompressedSpec, GptqSpec
from infra.contracts.specs.quantization.gptq import WHOLE_ROW
from infra.contracts.specs.quantization.layers import EVERY_LAYER, means

_INT8_TOKENS = {"num_bits": 8, "type": "int", "strategy": "token", "dynamic": True}
_FP8_TOKENS = {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True}
_FP8_TENSOR = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False}


def in_words(recipe: GptqSpec | CompressedSpec) -> dict[str, Any]:
    """Return a recipe as the worker takes it."""
    if isinstance(recipe, GptqSpec):
        weights = _whole_numbers(recipe.bits, recipe.group_size, symmetric=True)
        return {
            "algorithm": "gptq",
            "act_order": recipe.act_order,
            "smoothing": None,
            "groups": [{"targets": [EVERY_LAYER], "weights": weights, "inputs": None}],
            "ignore": list(recipe.ignore),
            "kv_cache": None,
        }
    # The first group that names a layer is its own.
    named = [(list(one.targets), one.scheme) for one in recipe.overrides]
    return {
        "algorithm": recipe.rounding,
        "act_order": True,
        "smoothing": recipe.smoothing if recipe.smooths else None,
        "groups": [
            {"targets": targets, **_scheme(recipe, name)}
            for targets, name in [*named, ([EVERY_LAYER], recipe.scheme)]
        ],
        "ignore": list(recipe.ignore),
        "kv_cache": "fp8" if recipe.kv_cache == "fp8" else None,
    }


def scheme_of(recipe: GptqSpec | CompressedSpec, layer: str) -> str | None:
    """Return the name of the scheme that a layer gets; none if it is left as it is."""
    if any(means(pattern, layer) for pattern in recipe.ignore):
        return None
    if isinstance(recipe, GptqSpec):
        return "gptq"
    for override in recipe.overrides:
        if any(means(pattern, layer) for pattern in override.targets):
            return override.scheme
    return recipe.scheme


def group_of(recipe: GptqSpec | CompressedSpec, scheme: str) -> int | None:
    """Return how many inputs share a scale in a scheme; none if it has no groups."""
    if isinstance(recipe, GptqSpec):
        return None if recipe.group_size == WHOLE_ROW else recipe.group_size
    return recipe.group if scheme == "w4a16" else None


def bits_of(recipe: GptqSpec | CompressedSpec) -> int:
    """Return the bits of most weights."""
    if isinstance(recipe, GptqSpec):
        return recipe.bits
    return 4 if recipe.scheme == "w4a16" else 8


def _scheme(recipe: CompressedSpec, name: str) -> dict[str, Any]:
    if name == "w4a16":
        weights = _whole_numbers(4, recipe.group, symmetric=not recipe.asymmetric)
        return {"weights": weights, "inputs": None}
    if name == "w8a8-int8":
        return {"weights": _whole_numbers(8, WHOLE_ROW, symmetric=True), "inputs": _INT8_TOKENS}
    if name == "fp8-dynamic":
        rows = {"num_bits": 8, "type": "float", "strategy": "channel"}
        return {"weights": rows, "inputs": _FP8_TOKENS}
    return {"weights": {"num_bits": 8, "type": "float", "strategy": "tensor"},
            "inputs": _FP8_TENSOR}  # fmt: skip


def _whole_numbers(bits: int, group: int, *, symmetric: bool) -> dict[str, Any]:
    shared: dict[str, Any] = {"strategy": "group", "group_size": group}
    if group == WHOLE_ROW:
        shared = {"strategy": "channel"}
    return {"num_bits": bits, "type": "int", "symmetric": symmetric, **shared}
