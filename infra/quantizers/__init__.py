"""Ways to make a checkpoint, each behind the same port.

port    what a method offers
awq     AutoAWQ
"""

from __future__ import annotations

from infra.contracts.specs import QuantizationSpec
from infra.quantizers.awq import Awq
from infra.quantizers.port import Need, Quantizer

__all__ = ["Need", "Quantizer", "quantizer_of"]

_METHODS: dict[str, Quantizer] = {"awq": Awq()}


def quantizer_of(recipe: QuantizationSpec) -> Quantizer:
    """Return what carries out a recipe."""
    return _METHODS[recipe.method]
