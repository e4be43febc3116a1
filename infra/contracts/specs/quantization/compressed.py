"""Schemes of compressed-tensors: which numbers hold weights, and what becomes of activations."""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

from pydantic import Field

from infra.contracts.errors import SpecError
from infra.contracts.specs.conversations import CalibrationSpec
from infra.contracts.specs.quantization.gptq import GROUP_SIZES
from infra.contracts.specs.quantization.layers import EVERY_LAYER, check_patterns
from infra.contracts.specs.quantization.recipe import Recipe
from infra.contracts.specs.spec import Spec, refuse

SchemeName: TypeAlias = Literal["w4a16", "w8a8-int8", "fp8-dynamic", "fp8-static"]
Algorithm: TypeAlias = Literal["gptq", "awq", "nearest"]

_WHOLE_NUMBERS = frozenset({"w4a16", "w8a8-int8"})
_TITLES = {
    "w4a16": "4-bit weights",
    "w8a8-int8": "INT8 weights and activations",
    "fp8-dynamic": "FP8, dynamic",
    "fp8-static": "FP8, static",
}
_ALGORITHMS = {"gptq": "by GPTQ", "awq": "by AWQ", "nearest": "rounded to nearest"}
_TAGS = {
    "w4a16": ("w4a16", "4-bit"), "w8a8-int8": ("w8a8", "int8"), "fp8-dynamic": ("fp8",),
    "fp8-static": ("fp8",),
}  # fmt: skip
_MEANINGS = {
    "w4a16": (
        "W4A16",
        "Weights in 4 bits each, a scale for each group of them; activations stay as they are.",
    ),
    "w8a8-int8": (
        "W8A8",
        "Weights and activations in 8 bits each, whole numbers, so that the fast products of whole "
        "numbers can be used. SmoothQuant first moves part of what makes activations hard to round "
        "into the weights.",
    ),
    "fp8-dynamic": (
        "FP8",
        "Weights and activations as floating-point numbers of 8 bits. Dynamic: the scale of the "
        "activations is found for each token while serving.",
    ),
    "fp8-static": (
        "FP8",
        "Weights and activations as floating-point numbers of 8 bits. Static: the scale of the "
        "activations was found on the calibration texts.",
    ),
}


class SchemeOverride(Spec):
    """Some layers that get another scheme than the others."""

    targets: tuple[str, ...] = Field(min_length=1)
    """Layers: names, or regular expressions after `re:`, such as `re:.*down_proj`. What the engine
    joins into one, such as the query, key and value projections, must stay together."""

    scheme: SchemeName
    """Their scheme."""


class CompressedSpec(Recipe):
    """A scheme of compressed-tensors, by llm-compressor."""

    method: Literal["compressed-tensors"] = "compressed-tensors"
    """Quantization algorithm."""

    scheme: SchemeName = "w4a16"
    """What holds the weights, and what becomes of activations: 4-bit weights, 8-bit whole numbers
    for both, or FP8 for both, with scales of activations found while serving or beforehand."""

    calibration: CalibrationSpec | None = None
    """The user's own conversations. Empty where no part of the recipe looks at any: FP8 dynamic,
    and weights that are rounded to nearest."""

    algorithm: Algorithm | None = None
    """How weights are rounded. Empty: GPTQ for whole numbers, to nearest for FP8."""

    group_size: int | None = None
    """Weights that share one scale in w4a16: 32, 64 or 128. Empty: 128. Other schemes have one
    scale a row or a layer."""

    zero_point: bool | None = None
    """Asymmetric quantization in w4a16. Empty: with AWQ only. Other schemes are symmetric."""

    smoothing: float = Field(default=0.8, ge=0, le=1)
    """How much of what makes activations hard to round SmoothQuant moves into the weights, where
    w8a8-int8 is used. 0 leaves SmoothQuant out."""

    ignore: tuple[str, ...] = ("lm_head",)
    """Layers that are left as they are: names, or regular expressions after `re:`."""

    overrides: tuple[SchemeOverride, ...] = ()
    """Layers that get another scheme; the first one that names a layer holds."""

    kv_cache: Literal["none", "fp8"] = "none"
    """Type of the key-value cache, with scales found on the conversations."""

    @property
    def schemes(self) -> tuple[SchemeName, ...]:
        """Every scheme that some layers have, the one of most layers first."""
        return tuple(dict.fromkeys([self.scheme, *(one.scheme for one in self.overrides)]))

    @property
    def rounding(self) -> Algorithm:
        """How weights are rounded."""
        whole = _WHOLE_NUMBERS.intersection(self.schemes)
        return self.algorithm or ("gptq" if whole else "nearest")

    @property
    def group(self) -> int:
        """Weights that share one scale in w4a16."""
        return self.group_size or 128

    @property
    def asymmetric(self) -> bool:
        """Whether w4a16 has zero points."""
        return self.rounding == "awq" if self.zero_point is None else self.zero_point

    @property
    def smooths(self) -> bool:
        """Whether SmoothQuant is part of it."""
        return "w8a8-int8" in self.schemes and self.smoothing > 0

    @property
    def reasons(self) -> tuple[str, ...]:
        """Parts of the recipe that look at conversations."""
        found = {
            "GPTQ": self.rounding == "gptq",
            "AWQ": self.rounding == "awq",
            "SmoothQuant": self.smooths,
            "fp8-static": "fp8-static" in self.schemes,
            "kv_cache=fp8": self.kv_cache == "fp8",
        }
        return tuple(name for name, looks in found.items() if looks)

    @property
    def slug(self) -> str:
        """As in `Recipe`."""
        usual = self.rounding == ("gptq" if self.scheme in _WHOLE_NUMBERS else "nearest")
        parts = [
            self.scheme,
            "" if usual else self.rounding,
            f"g{self.group}" if self.scheme == "w4a16" else "",
            "mixed" if self.overrides else "",
            "fp8-cache" if self.kv_cache == "fp8" else "",
        ]
        return "-".join(part for part in parts if part)

    @property
    def title(self) -> str:
        """As in `Recipe`."""
        return _TITLES[self.scheme]

    @property
    def details(self) -> str:
        """As in `Recipe`."""
        parts = [
            f"in groups of {self.group}" if self.scheme == "w4a16" else "",
            _ALGORITHMS[self.rounding] if self.scheme in _WHOLE_NUMBERS else "",
            f"smoothed by {self.smoothing:g}" if self.smooths else "",
            *(f"{', '.join(one.targets)} as {_TITLES[one.scheme]}" for one in self.overrides),
            "with an FP8 cache" if self.kv_cache == "fp8" else "",
        ]
        return ", ".join(part for part in parts if part)

    @property
    def tags(self) -> tuple[str, ...]:
        """As in `Recipe`."""
        return "compressed-tensors", *_TAGS[self.scheme]

    @property
    def meaning(self) -> tuple[str, str]:
        """As in `Recipe`."""
        return _MEANINGS[self.scheme]

    @refuse
    def _of_one_piece(self) -> Self:
        check_patterns("quantization.ignore", self.ignore)
        check_patterns(
            "quantization.overrides", [one for each in self.overrides for one in each.targets]
        )
        for override in self.overrides:
            if EVERY_LAYER in override.targets:
                raise SpecError(
                    f"quantization.overrides names {EVERY_LAYER!r}, which is every layer.",
                    cause=f"Nothing would be left for quantization.scheme={self.scheme!r}.",
                    remedy=f"Set quantization.scheme to {override.scheme!r} instead.",
                )
            if both := sorted(set(override.targets) & set(self.ignore)):
                raise SpecError(
                    f"{both[0]!r} is in quantization.ignore and in quantization.overrides.",
                    cause="What is ignored has no scheme.",
                    remedy="Name it in one of the two.",
                )
            if override.scheme == self.scheme:
                raise SpecError(
                    f"quantization.overrides gives {', '.join(override.targets)} the scheme "
                    f"{self.scheme!r}, which all layers have.",
                    remedy="Leave this override out, or name another scheme.",
                )
        return self

    @refuse
    def _four_bits(self) -> Self:
        if "w4a16" in self.schemes and self.group not in GROUP_SIZES:
            raise SpecError(
                f"quantization.group_size={self.group_size} cannot be served.",
                cause="vLLM's 4-bit kernels know groups of 32, 64 and 128.",
                remedy="Set quantization.group_size to 32, 64 or 128.",
            )
        return self

    @refuse
    def _algorithm(self) -> Self:
        if self.rounding == "gptq" and not _WHOLE_NUMBERS.intersection(self.schemes):
            raise SpecError(
                f"quantization.algorithm='gptq' with the scheme {self.scheme}.",
                cause="GPTQ pays for whole numbers; FP8 is rounded to nearest.",
                remedy="Leave quantization.algorithm empty.",
            )
        if self.rounding == "awq" and set(self.schemes) != {"w4a16"}:
            raise SpecError(
                f"quantization.algorithm='awq' with the scheme {' and '.join(self.schemes)}.",
                cause="AWQ searches scales for 4-bit weights.",
                remedy="Leave quantization.algorithm empty, or set quantization.scheme to 'w4a16' "
                "without overrides.",
            )
        return self

    @refuse
    def _conversations(self) -> Self:
        if self.reasons and self.calibration is None:
            raise SpecError(
                f"quantization.calibration is missing for {self.slug}.",
                cause=f"{' and '.join(self.reasons)} looks at conversations."
                if len(self.reasons) == 1
                else f"{', '.join(self.reasons)} look at conversations.",
                remedy="Set quantization.calibration.path to a file of conversations.",
            )
        if not self.reasons and self.calibration is not None:
            raise SpecError(
                f"quantization.calibration is given for {self.slug}, which looks at no "
                "conversations.",
                cause="Scales of activations are found while serving, and weights are rounded to "
                "nearest.",
                remedy="Remove quantization.calibration. Conversations to look at candidates with "
                "stand in `conversations` of the run.",
            )
        return self
