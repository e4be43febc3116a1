"""GGUF: one file for llama.cpp, in a mix of block formats."""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

from infra.contracts.errors import SpecError
from infra.contracts.specs.conversations import CalibrationSpec
from infra.contracts.specs.quantization.recipe import Recipe
from infra.contracts.specs.spec import refuse

GgufType: TypeAlias = Literal["f32", "f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m"]
"""As llama.cpp calls its mixes of formats."""

_WHOLE = ("f32", "f16")
_UNWEIGHTED = (*_WHOLE, "q8_0")


class GgufSpec(Recipe):
    """One file for llama.cpp (GGUF), by its own converter and quantizer."""

    method: Literal["gguf"] = "gguf"
    """Format of llama.cpp."""

    type: GgufType = "q4_k_m"
    """Mix of formats that weights are stored in: `q4_k_m` takes about 4.9 bits a weight, `q8_0`
    8.5. `f16` and `f32` round nothing: a baseline for the same engine."""

    importance: bool = False
    """Weigh each weight's error by what the conversations send through it (importance matrix)."""

    calibration: CalibrationSpec | None = None
    """The user's own conversations; only an importance matrix is made from them."""

    @property
    def slug(self) -> str:
        """As in `Recipe`."""
        weighed = "-imatrix" if self.importance else ""
        return f"gguf-{self.type.replace('_', '-')}{weighed}"

    @property
    def title(self) -> str:
        """As in `Recipe`."""
        return f"GGUF {self.type.upper()}"

    @property
    def details(self) -> str:
        """As in `Recipe`."""
        return "with an importance matrix" if self.importance else ""

    @property
    def rounds(self) -> bool:
        """As in `Recipe`."""
        return self.type not in _WHOLE

    @property
    def tags(self) -> tuple[str, ...]:
        """As in `Recipe`."""
        return "gguf", self.type

    @property
    def meaning(self) -> tuple[str, str]:
        """As in `Recipe`."""
        text = "llama.cpp's file format. "
        if self.type in _WHOLE:
            text += f"The weights are stored as {self.type.upper()}: nothing is rounded further."
        else:
            text += (
                "The weights are stored in blocks of whole numbers that share scales; "
                f"{self.type.upper()} mixes block formats, with more bits where errors cost most."
            )
        if self.importance:
            text += " Errors were weighed by what the calibration texts send through each weight."
        return "GGUF", text

    @refuse
    def _made_of_something(self) -> Self:
        if self.importance and self.type in _UNWEIGHTED:
            raise SpecError(
                f"quantization.importance changes nothing in a GGUF file of type {self.type}.",
                cause="Its weights are not rounded, or to the nearest level whatever they weigh.",
                remedy="Leave quantization.importance and quantization.calibration out, or set "
                "quantization.type to q6_k, q5_k_m, q4_k_m or q3_k_m.",
            )
        if self.importance and self.calibration is None:
            raise SpecError(
                "quantization.importance is set, and there are no conversations to measure with.",
                cause="An importance matrix is made of what conversations send through the model.",
                remedy="Name them in quantization.calibration.path, or leave "
                "quantization.importance out.",
            )
        if self.calibration is not None and not self.importance:
            raise SpecError(
                "quantization.calibration would change nothing in a GGUF file without an "
                "importance matrix.",
                cause="Without quantization.importance no conversation is read.",
                remedy="Set quantization.importance, or leave quantization.calibration out: "
                "conversations to look at candidates with stand in `conversations` of the run.",
            )
        return self
