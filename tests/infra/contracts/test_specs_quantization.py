from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from deployments import overrides
from deployments.recipes import sample
from infra.contracts.errors import SpecError
from infra.contracts.specs import AwqSpec, QuantizationSpec, Recipe
from infra.contracts.specs.quantization import RECIPES

READ: TypeAdapter[Recipe] = TypeAdapter(QuantizationSpec)
TALKS = {"path": "talks.jsonl"}


def test_a_recipe_without_a_method_is_what_recipes_were_before_there_were_others() -> None:
    found = READ.validate_python({"calibration": TALKS, "group_size": 64})
    assert isinstance(found, AwqSpec)
    assert found.group_size == 64


def test_a_recipe_is_written_and_read_again() -> None:
    recipe = sample().candidates[0].quantization
    assert READ.validate_json(READ.dump_json(recipe)) == recipe


def test_each_method_is_told_apart_and_described() -> None:
    for method, kind in RECIPES.items():
        assert kind.model_fields["method"].default == method
    schema = READ.json_schema()
    assert len(schema.get("anyOf", [schema])) == len(RECIPES), "Prefect's form knows no oneOf"


def test_an_unknown_method_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValidationError, match="'awq'"):
        READ.validate_python({"calibration": TALKS, "method": "squeeze"})
    with pytest.raises(SpecError) as caught:
        overrides.override(sample(), ["quantization.method=squeeze"])
    assert "quantization.method: 'squeeze' is no method; there are awq" in str(caught.value)


def test_an_error_names_the_field_as_it_is_written() -> None:
    with pytest.raises(SpecError) as caught:
        overrides.override(sample(), ["quantization.bits=many"])
    assert str(caught.value).startswith("quantization.bits: ")
    with pytest.raises(SpecError, match=r"Unknown field 'quantization\.colour'"):
        overrides.override(sample(), ["quantization.colour=red"])
