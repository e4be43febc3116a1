"""An adapter is added to a model's weights: nothing is quantized, and a whole model comes of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from infra.contracts.specs.quantization.recipe import Recipe


class MergeSpec(Recipe):
    """The merging of an adapter: what `adapter.merge` asks for."""

    method: Literal["merge"] = "merge"
    """Not an algorithm of quantization; told apart like those."""

    calibration: None = None
    """Needs none."""

    adapter: str
    """Digest of the adapter's files."""

    folder: str = Field(default="", exclude=True)
    """Where they are: no part of what is made of them."""

    dtype: str
    """Type of the result: the model's own."""

    @property
    def slug(self) -> str:
        """As in `Recipe`."""
        return "merged"

    @property
    def title(self) -> str:
        """As in `Recipe`."""
        return "adapter merged"

    @property
    def details(self) -> str:
        """As in `Recipe`."""
        return ""

    @property
    def tags(self) -> tuple[str, ...]:
        """As in `Recipe`."""
        return ("merge",)

    @property
    def meaning(self) -> tuple[str, str]:
        """As in `Recipe`."""
        return "Merged", "What an adapter adds was added to the model's weights once and for all."
