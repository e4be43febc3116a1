from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from infra.contracts.errors import SpecError
from infra.contracts.specs import GgufSpec, QuantizationSpec, Recipe

READ: TypeAdapter[Recipe] = TypeAdapter(QuantizationSpec)
TALKS = {"path": "talks.jsonl"}


def spec(**fields: Any) -> GgufSpec:
    found = READ.validate_python({"method": "gguf", **fields})
    assert isinstance(found, GgufSpec)
    return found


@pytest.mark.parametrize(
    ("fields", "slug", "phrase"),
    [
        ({}, "gguf-q4-k-m", "GGUF Q4_K_M"),
        ({"type": "f16"}, "gguf-f16", "GGUF F16"),
        ({"type": "q8_0"}, "gguf-q8-0", "GGUF Q8_0"),
        ({"type": "q3_k_m", "importance": True, "calibration": TALKS}, "gguf-q3-k-m-imatrix",
         "GGUF Q3_K_M with an importance matrix"),
    ],
)  # fmt: skip
def test_a_recipe_is_named(fields: dict[str, Any], slug: str, phrase: str) -> None:
    found = spec(**fields)
    assert (found.slug, found.phrase) == (slug, phrase)
    assert found.type.upper() in found.meaning[1]
    assert READ.validate_json(READ.dump_json(found)) == found


@pytest.mark.parametrize(
    ("fields", "fact", "remedy"),
    [
        ({"importance": True}, "no conversations to measure with", "calibration.path"),
        ({"calibration": TALKS}, "would change nothing", "Set quantization.importance"),
        *(
            ({"type": kind, "importance": True, "calibration": TALKS},
             f"changes nothing in a GGUF file of type {kind}", "q4_k_m")
            for kind in ("f32", "f16", "q8_0")
        ),
    ],
)  # fmt: skip
def test_what_would_change_nothing_is_refused(
    fields: dict[str, Any], fact: str, remedy: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        GgufSpec(**fields)
    error = caught.value.errors()[0]["ctx"]["error"]
    assert isinstance(error, SpecError)
    assert fact in error.fact and remedy in error.remedy


@pytest.mark.parametrize("kind", ["q2_k", "iq4_xs", "Q4_K_M", "4"])
def test_types_that_are_not_made_here_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="q4_k_m"):
        spec(type=kind)
