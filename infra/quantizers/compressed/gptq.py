"""GPTQ, by llm-compressor and not by GPTQModel.

Both were tried on the sample model, on two cores, with the same 64 conversations. On 32 others each
token costs 0.2735 nats as the model came; in 4 bits 0.2744 by llm-compressor and 0.2742 by
GPTQModel, and with act-order 0.2753 and 0.2755: nothing is lost. 4 and 8 bits, groups of 32, 64 and
128 and whole rows are there, and the engine takes the same kernel for both formats. llm-compressor
needs about half the time, most of it importing, and shares its environment with the schemes of
compressed-tensors, beside which GPTQModel's would be one more of 1.2 GB.

GPTQModel's act-order scatters each group over the row, which compressed-tensors has given up. Here
inputs are rounded in the order of their activations but stay in their group, so that serving is as
fast as without.
"""

from __future__ import annotations

from infra.contracts.specs import GptqSpec
from infra.quantizers.compressed.program import MadeByLlmCompressor


class Gptq(MadeByLlmCompressor[GptqSpec]):
    """See `infra.quantizers.port.Quantizer`."""
