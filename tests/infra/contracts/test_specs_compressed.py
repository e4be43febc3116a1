"""Recipes of llm-compressor: what they are called, and what is refused when they are built."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from infra.contracts.specs import CompressedSpec, GptqSpec, QuantizationSpec, Recipe, recorded

READ: TypeAdapter[Recipe] = TypeAdapter(QuantizationSpec)
TALKS = {"path": "talks.jsonl"}
DOWN = {"targets": ["re:.*down_proj"], "scheme": "fp8-dynamic"}


def gptq(**fields: Any) -> GptqSpec:
    return GptqSpec.model_validate({"calibration": TALKS, **fields})


def compressed(scheme: str, **fields: Any) -> CompressedSpec:
    return CompressedSpec.model_validate({"scheme": scheme, **fields})


@pytest.mark.parametrize(
    ("recipe", "slug", "phrase"),
    [
        (gptq(), "gptq-4bit-g128", "4-bit GPTQ in groups of 128"),
        (gptq(bits=8, group_size=-1), "gptq-8bit-channel", "8-bit GPTQ with one scale a row"),
        (
            gptq(group_size=64, act_order=False),
            "gptq-4bit-g64-in-order",
            "4-bit GPTQ in groups of 64, not in the order of activations",
        ),
        (
            compressed("w4a16", calibration=TALKS),
            "w4a16-g128",
            "4-bit weights in groups of 128, by GPTQ",
        ),
        (
            compressed("w4a16", algorithm="awq", group_size=32, calibration=TALKS),
            "w4a16-awq-g32",
            "4-bit weights in groups of 32, by AWQ",
        ),
        (
            compressed("w4a16", algorithm="nearest"),
            "w4a16-nearest-g128",
            "4-bit weights in groups of 128, rounded to nearest",
        ),
        (
            compressed("w8a8-int8", calibration=TALKS),
            "w8a8-int8",
            "INT8 weights and activations by GPTQ, smoothed by 0.8",
        ),
        (compressed("fp8-dynamic"), "fp8-dynamic", "FP8, dynamic"),
        (compressed("fp8-static", calibration=TALKS), "fp8-static", "FP8, static"),
        (
            compressed("fp8-dynamic", kv_cache="fp8", calibration=TALKS),
            "fp8-dynamic-fp8-cache",
            "FP8, dynamic with an FP8 cache",
        ),
        (
            compressed("w4a16", overrides=[DOWN], calibration=TALKS),
            "w4a16-g128-mixed",
            "4-bit weights in groups of 128, by GPTQ, re:.*down_proj as FP8, dynamic",
        ),
    ],
)
def test_a_recipe_is_named_and_described(recipe: Recipe, slug: str, phrase: str) -> None:
    assert recipe.slug == slug
    assert recipe.phrase == phrase
    assert all(recipe.meaning)
    assert "compressed-tensors" in recipe.tags
    assert READ.validate_json(READ.dump_json(recipe)) == recipe


BAD_GPTQ: list[tuple[dict[str, Any], str]] = [
    ({"calibration": None}, "valid dictionary|CalibrationSpec"),
    ({"bits": 3}, "bits=3 cannot be served"),
    ({"bits": 6}, "bits=6 cannot be served"),
    ({"bits": 16}, "less than or equal to 8"),
    ({"group_size": 100}, "group_size=100 cannot be served"),
    ({"group_size": 0}, "group_size=0 cannot be served"),
    ({"group_size": 256}, "group_size=256 cannot be served"),
    ({"ignore": [""]}, "holds an empty pattern"),
    ({"ignore": ["re:"]}, "holds an empty pattern"),
    ({"ignore": ["re:(down_proj"]}, "no regular expression"),
    ({"ignore": ["lm_head", "*.down_proj"]}, r"re:\.\*.*down_proj"),
    ({"ignore": ["lm_head", "lm_head"]}, "names 'lm_head' twice"),
    ({"act_order": "perhaps"}, "act_order"),
    ({"zero_point": True}, "Extra inputs"),
]


@pytest.mark.parametrize(("fields", "says"), BAD_GPTQ)
def test_a_gptq_recipe_that_cannot_work_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        gptq(**fields)


BAD_COMPRESSED: list[tuple[str, dict[str, Any], str]] = [
    ("w8a16", {}, "'w4a16', 'w8a8-int8', 'fp8-dynamic' or 'fp8-static'"),
    ("w4a16", {}, "calibration is missing for w4a16-g128"),
    ("w8a8-int8", {}, "GPTQ, SmoothQuant look at conversations"),
    ("fp8-static", {}, "fp8-static looks at conversations"),
    ("fp8-dynamic", {"kv_cache": "fp8"}, "kv_cache=fp8 looks at conversations"),
    ("fp8-dynamic", {"calibration": TALKS}, "looks at no conversations"),
    ("w4a16", {"algorithm": "nearest", "calibration": TALKS}, "looks at no conversations"),
    ("w4a16", {"group_size": 48, "calibration": TALKS}, "group_size=48 cannot be served"),
    ("fp8-dynamic", {"algorithm": "gptq", "calibration": TALKS}, "algorithm='gptq'"),
    ("w8a8-int8", {"algorithm": "awq", "calibration": TALKS}, "algorithm='awq'"),
    ("w8a8-int8", {"smoothing": 1.5, "calibration": TALKS}, "less than or equal to 1"),
    ("w4a16", {"ignore": ["re:["], "calibration": TALKS}, "no regular expression"),
    ("fp8-dynamic", {"overrides": [{"targets": [], "scheme": "fp8-static"}]}, "at least 1 item"),
    ("fp8-dynamic", {"overrides": [DOWN]}, "which all layers have"),
    (
        "w4a16",
        {"overrides": [{"targets": ["Linear"], "scheme": "fp8-dynamic"}], "calibration": TALKS},
        "'Linear', which is every layer",
    ),
    (
        "w4a16",
        {"overrides": [DOWN], "ignore": ["lm_head", "re:.*down_proj"], "calibration": TALKS},
        "in quantization.ignore and in quantization.overrides",
    ),
    ("w4a16", {"overrides": [DOWN, DOWN], "calibration": TALKS}, "twice"),
    (
        "w4a16",
        {"overrides": [DOWN], "algorithm": "awq", "calibration": TALKS},
        "algorithm='awq' with the scheme w4a16 and fp8-dynamic",
    ),
]


@pytest.mark.parametrize(("scheme", "fields", "says"), BAD_COMPRESSED)
def test_a_scheme_that_cannot_work_is_refused(
    scheme: str, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        compressed(scheme, **fields)


def test_a_recipe_of_a_run_that_is_over_is_read_whatever_it_says() -> None:
    with recorded():
        assert compressed("fp8-dynamic", calibration=TALKS).calibration
        assert gptq(bits=3).bits == 3


def test_what_another_scheme_would_read_is_no_fault() -> None:
    """As a recipe of another method leaves it behind."""
    assert compressed("fp8-dynamic", group_size=100, zero_point=True).slug == "fp8-dynamic"


def test_conversations_are_asked_for_by_what_looks_at_them() -> None:
    assert compressed("w8a8-int8", algorithm="nearest", smoothing=0).reasons == ()
    assert compressed("w8a8-int8", smoothing=0, calibration=TALKS).reasons == ("GPTQ",)
    eight = {"targets": ["re:.*down_proj"], "scheme": "w8a8-int8"}
    mixed = compressed("fp8-dynamic", overrides=[eight], calibration=TALKS)
    assert mixed.reasons == ("GPTQ", "SmoothQuant")
    assert compressed("w4a16", algorithm="awq", calibration=TALKS).asymmetric
    assert not compressed("w4a16", algorithm="awq", zero_point=False, calibration=TALKS).asymmetric
