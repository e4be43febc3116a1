"""vLLM's kernels for quantized layers."""

from __future__ import annotations

from infra.engines.port import Kernels

KERNELS = Kernels(
    fast=frozenset([
        "MacheteLinearKernel", "MarlinLinearKernel", "AllSparkLinearKernel",  # CUDA
        "CPUWNA16LinearKernel", "ZentorchWNA16LinearKernel", "Dynamic4bitLinearKernel",  # CPU
        # INT8 and FP8 for weights and activations
        "CutlassInt8ScaledMMLinearKernel", "CutlassFP8ScaledMMLinearKernel",
        "FlashInferFP8ScaledMMLinearKernel", "MarlinFP8ScaledMMLinearKernel",
        "CPUInt8ScaledMMLinearKernel", "CPUFP8W8A8ScaledMMLinearKernel",
    ]),
    slow=frozenset([
        "ConchLinearKernel", "ExllamaLinearKernel", "TritonW4A16LinearKernel",
        "TritonInt8ScaledMMLinearKernel", "TritonFP8ScaledMMLinearKernel",
        "PerTensorTorchFP8ScaledMMLinearKernel", "ChannelWiseTorchFP8ScaledMMLinearKernel",
        "RowWiseTorchFP8ScaledMMLinearKernel",
    ]),
)  # fmt: skip
