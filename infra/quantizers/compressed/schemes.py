"""The schemes of compressed-tensors: 4-bit weights, INT8 and FP8 for weights and activations."""

from __future__ import annotations

from infra.contracts.specs import CompressedSpec
from infra.quantizers.compressed.program import MadeByLlmCompressor


class CompressedTensors(MadeByLlmCompressor[CompressedSpec]):
    """See `infra.quantizers.port.Quantizer`."""
