"""GPTQ: weights rounded one input after the other, each error made good by those still to come."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from infra.contracts.errors import SpecError
from infra.contracts.specs.conversations import CalibrationSpec
from infra.contracts.specs.quantization.layers import check_patterns
from infra.contracts.specs.quantization.recipe import Recipe
from infra.contracts.specs.spec import refuse

GROUP_SIZES = (32, 64, 128)
"""Inputs that share a scale, as the engine's kernels have them."""

WHOLE_ROW = -1
"""Group size that stands for one scale a row."""


class GptqSpec(Recipe):
    """GPTQ, by llm-compressor."""

    calibration: CalibrationSpec
    """The user's own conversations."""

    method: Literal["gptq"] = "gptq"
    """Quantization algorithm."""

    bits: int = Field(default=4, ge=2, le=8)
    """Bits a weight: 4, or 8, which no engine serves on a CPU."""

    group_size: int = 128
    """Weights that share one scale: 32, 64 or 128, or -1 for a whole row. It must divide every
    layer's input size."""

    act_order: bool = True
    """Round the inputs with the largest activations first. Groups stay whole, so that serving is
    as fast as without."""

    ignore: tuple[str, ...] = ("lm_head",)
    """Layers that are left as they are: names, or regular expressions after `re:`, such as
    `re:.*down_proj`."""

    @property
    def slug(self) -> str:
        """As in `Recipe`."""
        group = "channel" if self.group_size == WHOLE_ROW else f"g{self.group_size}"
        return f"gptq-{self.bits}bit-{group}{'' if self.act_order else '-in-order'}"

    @property
    def title(self) -> str:
        """As in `Recipe`."""
        return f"{self.bits}-bit GPTQ"

    @property
    def details(self) -> str:
        """As in `Recipe`."""
        whole = self.group_size == WHOLE_ROW
        groups = "with one scale a row" if whole else f"in groups of {self.group_size}"
        return groups if self.act_order else f"{groups}, not in the order of activations"

    @property
    def tags(self) -> tuple[str, ...]:
        """As in `Recipe`."""
        return "gptq", "compressed-tensors", f"{self.bits}-bit"

    @property
    def meaning(self) -> tuple[str, str]:
        """As in `Recipe`."""
        return (
            "GPTQ",
            "Weights are rounded one input after the other, and those still to come make good what "
            "rounding did to the answers of each layer on the calibration texts.",
        )

    @refuse
    def _servable(self) -> Self:
        if self.bits not in (4, 8):
            raise SpecError(
                f"quantization.bits={self.bits} cannot be served.",
                cause="vLLM's kernels for whole-number weights know 4 and 8 bits.",
                remedy="Set quantization.bits to 4 or 8.",
            )
        if self.group_size not in (*GROUP_SIZES, WHOLE_ROW):
            raise SpecError(
                f"quantization.group_size={self.group_size} cannot be served.",
                cause="vLLM's kernels know groups of 32, 64 and 128, and whole rows (-1).",
                remedy="Set quantization.group_size to 32, 64, 128 or -1.",
            )
        check_patterns("quantization.ignore", self.ignore)
        return self
