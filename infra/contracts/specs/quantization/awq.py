"""Activation-aware weight quantization (AWQ), 4 bits."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from infra.contracts.errors import SpecError
from infra.contracts.specs.conversations import CalibrationSpec
from infra.contracts.specs.quantization.recipe import Recipe
from infra.contracts.specs.spec import refuse


class AwqSpec(Recipe):
    """Activation-aware weight quantization (AWQ), by AutoAWQ."""

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
        """As in `Recipe`."""
        return f"awq-{self.bits}bit-g{self.group_size}"

    @property
    def title(self) -> str:
        """As in `Recipe`."""
        return f"{self.bits}-bit AWQ"

    @property
    def details(self) -> str:
        """As in `Recipe`."""
        return f"in groups of {self.group_size}"

    @property
    def tags(self) -> tuple[str, ...]:
        """As in `Recipe`."""
        return "awq", f"{self.bits}-bit"

    @property
    def meaning(self) -> tuple[str, str]:
        """As in `Recipe`."""
        return (
            "AWQ",
            f"Activation-aware weight quantization. The weights are stored in {self.bits} bits "
            "each; those that matter most for the calibration texts lose least.",
        )

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
