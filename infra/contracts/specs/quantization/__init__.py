"""How a checkpoint is made: one recipe a method, told apart by `method`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from infra.contracts.specs.quantization.awq import AwqSpec
from infra.contracts.specs.quantization.compressed import CompressedSpec, SchemeOverride
from infra.contracts.specs.quantization.gguf import GgufSpec
from infra.contracts.specs.quantization.gptq import GptqSpec
from infra.contracts.specs.quantization.merge import MergeSpec
from infra.contracts.specs.quantization.recipe import Recipe

__all__ = [
    "RECIPES",
    "AwqSpec",
    "CompressedSpec",
    "GgufSpec",
    "GptqSpec",
    "MadeRecipe",
    "MergeSpec",
    "QuantizationSpec",
    "Recipe",
    "SchemeOverride",
    "recipe_kind",
]

RECIPES: dict[str, type[Recipe]] = {
    "awq": AwqSpec,
    "gptq": GptqSpec,
    "compressed-tensors": CompressedSpec,
    "gguf": GgufSpec,
}
"""Method → its recipe. The first one is meant where a recipe names no method."""


def method_of(given: Any) -> str:
    """Return the method that a recipe, or what shall become one, names."""
    name = given.get("method") if isinstance(given, dict) else getattr(given, "method", None)
    return next(iter(RECIPES)) if name is None else str(name)


def recipe_kind(given: Any) -> type[Recipe]:
    """Return the kind of recipe that fields are for; `Recipe` if nobody knows its method."""
    return RECIPES.get(method_of(given), Recipe)


@dataclass(frozen=True)
class _AnyMethod:
    """Reads a recipe as its method's own kind."""

    kinds: tuple[type[Recipe], ...]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        choices = {
            str(kind.model_fields["method"].default): handler.generate_schema(kind)
            for kind in self.kinds
        }
        return core_schema.tagged_union_schema(choices, discriminator=method_of)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        # Prefect's form shows `anyOf` as tabs, and knows no `oneOf`.
        found = handler(schema)
        return {"anyOf": found["oneOf"]} if "oneOf" in found else found


if TYPE_CHECKING:
    QuantizationSpec: TypeAlias = Recipe
    MadeRecipe: TypeAlias = Recipe
else:
    QuantizationSpec = Annotated[Recipe, _AnyMethod(tuple(RECIPES.values()))]
    """A recipe of any method."""

    MadeRecipe = Annotated[Recipe, _AnyMethod((*RECIPES.values(), MergeSpec))]
    """What a checkpoint was made by: a recipe, or the merging of an adapter before it."""
