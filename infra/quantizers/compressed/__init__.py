"""llm-compressor: GPTQ, and the schemes of compressed-tensors.

program             what both methods share: one environment, one script
gptq                the method `gptq`
schemes             the method `compressed-tensors`
groups              recipes in the words of compressed-tensors
limits              what can be quantized, and served after it
memory              what it takes: estimates
quantize_compressed the script
"""

from __future__ import annotations

from infra.quantizers.compressed.gptq import Gptq
from infra.quantizers.compressed.schemes import CompressedTensors

__all__ = ["CompressedTensors", "Gptq"]
