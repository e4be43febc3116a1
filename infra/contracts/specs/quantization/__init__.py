"""How a checkpoint is made: one recipe a method, told apart by `method`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from infra.contracts.specs.quantization.awq import AwqSpec
from infra.contracts.specs.quantization.compressed import CompressedSpec, SchemeOverride
from infra.contracts.specs.quantization.gguf import GgufSpec
from infra.contracts.specs.quantization.gptq import GptqSpec
from infra.contracts.specs.quantization.recipe import Recipe

__all__ = [
    "RECIPES",
    "AwqSpec",
    "CompressedSpec",
    "GgufSpec",
    "GptqSpec",
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


class _AnyMethod:
    """Reads a recipe as its method's own kind."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {method: handler.generate_schema(kind) for method, kind in RECIPES.items()}
        return core_schema.tagged_union_schema(choices, discriminator=method_of)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        # Prefect's form shows `anyOf` as tabs, and knows no `oneOf`.
        found = handler(schema)
        return {"anyOf": found["oneOf"]} if "oneOf" in found else found


if TYPE_CHECKING:
    QuantizationSpec: TypeAlias = Recipe
else:
    QuantizationSpec = Annotated[Recipe, _AnyMethod]
    """A recipe of any method."""
