"""How quantized weights are packed, and what they stand for: decoded as the engine will.

base              what every layout can do
awq               AutoAWQ's GEMM
gptq              AutoGPTQ, GPTQModel
rows              compressed-tensors, levels in words
eight_bits        FP8 and int8, whoever made them
four_bit_floats   NVFP4, MXFP4

A weight is (level - zero) * scale. Which layout it is, shapes and types say, and leave no choice:
whether it is the one that the configuration names is for who asks. What else there is
(bitsandbytes, Marlin's own order, codebooks) is not decoded.
"""

from __future__ import annotations

from collections.abc import Mapping

from infra.contracts.records import QuantizationScheme
from infra.probes.triage.packing import awq, eight_bits, four_bit_floats, gptq, rows
from infra.probes.triage.packing.base import Packing, Parts, Sample, Shape, scales_of

__all__ = [
    "Packing", "Parts", "Sample", "Shape", "is_decoded", "knows", "layout_of", "read", "scales_of"
]  # fmt: skip

_SECOND = "gptq_v2"

_MODULES = (awq, gptq, eight_bits, four_bit_floats)
_DECODED: Mapping[str, frozenset[str | None] | None] = {
    # Its groups may be of any kind of number, so several modules read them.
    "compressed-tensors": frozenset({None, "mixed-precision"}).union(
        rows.FORMATS, eight_bits.FORMATS, four_bit_floats.FORMATS
    ),
    **{method: formats for one in _MODULES for method, formats in one.METHODS.items()},
}
"""Method → formats whose layers are decoded here, all of them if None. Of others some may be."""

_LAYOUTS = {method: one.LAYOUT for one in (awq, gptq, eight_bits) for method in one.ONE_LAYOUT}
"""Method → the layout that its engine reads, where one might be taken for another."""


def knows(method: str) -> bool:
    """Tell whether some format of a method is decoded here."""
    return method in _DECODED


def is_decoded(method: str, form: str | None) -> bool:
    """Tell whether every layer of a method in a format can be decoded here."""
    formats = _DECODED.get(method, frozenset())
    return formats is None or form in formats


def layout_of(method: str) -> str | None:
    """Return the one layout that the engine reads of a method; none if there is more than one."""
    return _LAYOUTS.get(method)


def read(parts: Parts, scheme: QuantizationScheme, form: str | None) -> Packing | None:
    """Return the layer that some tensors are; none if they fit no layout that is decoded here.

    Args:
        parts: Name of a part → its tensor.
        scheme: What the configuration says of the layer: settles what shapes leave open.
        form: Format that the configuration names.
    """
    return (
        awq.read(parts)
        or gptq.read(parts, bits=scheme.bits, symmetric=scheme.symmetric, less_one=form != _SECOND)
        or rows.read(parts, bits=scheme.bits)
        or eight_bits.read(parts, block=scheme.block)
        or four_bit_floats.read(parts)
    )
