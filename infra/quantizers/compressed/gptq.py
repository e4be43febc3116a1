"""GPTQ, by llm-compressor and not by GPTQModel.

Both were tried on the sample model, on two cores. llm-compressor took 8 s where GPTQModel took 18,
shares its environment with the schemes of compressed-tensors, which one more of 1.2 GB would stand
beside, and computes in float32 on a CPU, where GPTQModel picks a 16-bit type by itself. Nothing is
lost: 4 and 8 bits, groups of 32, 64 and 128 and whole rows are there, and the engine takes the same
kernels for both formats. GPTQModel's act-order scatters each group over the row, which some kernels
cannot read and others read slower; here inputs are rounded in the order of their activations, but
stay in the group where they are, which serves as fast as no order.
"""

from __future__ import annotations

from infra.contracts.specs import GptqSpec
from infra.quantizers.compressed.program import MadeByLlmCompressor


class Gptq(MadeByLlmCompressor[GptqSpec]):
    """See `infra.quantizers.port.Quantizer`."""
