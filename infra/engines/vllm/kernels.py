"""vLLM's kernels for quantized layers."""

from __future__ import annotations

from infra.engines.port import Kernels

KERNELS = Kernels(
    fast=frozenset([
        "MacheteLinearKernel", "MarlinLinearKernel", "AllSparkLinearKernel",  # CUDA
        "CPUWNA16LinearKernel", "ZentorchWNA16LinearKernel", "Dynamic4bitLinearKernel",  # CPU
    ]),
    slow=frozenset(["ConchLinearKernel", "ExllamaLinearKernel", "TritonW4A16LinearKernel"]),
)  # fmt: skip
