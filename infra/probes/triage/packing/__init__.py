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

from infra.contracts.records import QuantizationScheme
from infra.probes.triage.packing import awq, eight_bits, four_bit_floats, gptq, rows
from infra.probes.triage.packing.base import Packing, Parts, Sample, Shape, scales_of

__all__ = ["Packing", "Parts", "Sample", "Shape", "read", "scales_of"]

_SECOND = "gptq_v2"


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
