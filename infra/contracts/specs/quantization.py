"""How a checkpoint is made."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from infra.contracts.errors import SpecError
from infra.contracts.specs.conversations import CalibrationSpec
from infra.contracts.specs.spec import Spec, refuse


class QuantizationSpec(Spec):
    """How the weights are quantized: activation-aware weight quantization (AWQ)."""

    calibration: CalibrationSpec
    """The user's own conversations."""

    method: Literal["awq"] = "awq"
    """Quantization algorithm."""

    bits: int = Field(default=4, ge=2, le=8)
    """Bits a weight. AutoAWQ packs 4 and nothing else."""

    group_size: int = 128
    """Weights that share one scale: 32, 64 or 128; it must divide every layer's input size."""

    zero_point: bool = True
    """Asymmetric quantization. The GEMM layout that vLLM loads needs it."""

    version: Literal["gemm", "gemv", "gemv_fast", "marlin"] = "gemm"
    """Packing of the checkpoint. vLLM loads `gemm` and repacks it for its kernels."""

    @property
    def slug(self) -> str:
        """What a candidate of this recipe is called where it has no other name."""
        return f"{self.method}-{self.bits}bit-g{self.group_size}"

    @refuse
    def _servable(self) -> Self:
        if self.bits != 4:
            raise SpecError(
                f"quantization.bits={self.bits} cannot be packed.",
                cause="AutoAWQ writes 4-bit checkpoints only.",
                remedy="Set quantization.bits to 4.",
            )
        if self.group_size not in (32, 64, 128):
            raise SpecError(
                f"quantization.group_size={self.group_size} cannot be served.",
                cause="vLLM's 4-bit kernels know groups of 32, 64 and 128.",
                remedy="Set quantization.group_size to 32, 64 or 128.",
            )
        if self.version != "gemm":
            raise SpecError(
                f"quantization.version={self.version!r} cannot be served.",
                cause="vLLM reads AWQ checkpoints in the GEMM layout only.",
                remedy="Set quantization.version to 'gemm'; vLLM repacks it for its fast kernels.",
            )
        if not self.zero_point:
            raise SpecError(
                "quantization.zero_point=False cannot be packed in the GEMM layout.",
                cause="AutoAWQ's GEMM packing stores zero points.",
                remedy="Set quantization.zero_point to True.",
            )
        return self
