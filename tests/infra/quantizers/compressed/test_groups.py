from __future__ import annotations

from typing import Any

from infra.contracts.specs import CalibrationSpec, CompressedSpec, GptqSpec, SchemeOverride
from infra.quantizers.compressed.groups import bits_of, group_of, in_words, scheme_of

TALKS = CalibrationSpec(path="talks.jsonl")
LAYER = "model.layers.3.mlp.down_proj"


def compressed(scheme: Any, **fields: Any) -> CompressedSpec:
    return CompressedSpec(scheme=scheme, **fields)


def test_gptq_is_one_group_of_whole_numbers() -> None:
    assert in_words(GptqSpec(calibration=TALKS, bits=8, group_size=64, act_order=False)) == {
        "algorithm": "gptq",
        "act_order": False,
        "smoothing": None,
        "groups": [
            {
                "targets": ["Linear"],
                "weights": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "group",
                            "group_size": 64},
                "inputs": None,
            }
        ],
        "ignore": ["lm_head"],
        "kv_cache": None,
    }  # fmt: skip
    [whole] = in_words(GptqSpec(calibration=TALKS, group_size=-1))["groups"]
    assert whole["weights"]["strategy"] == "channel"
    assert "group_size" not in whole["weights"]


def test_a_layer_that_is_named_comes_before_all_others() -> None:
    recipe = compressed(
        "w4a16",
        calibration=TALKS,
        algorithm="gptq",
        overrides=(SchemeOverride(targets=("re:.*down_proj",), scheme="w8a8-int8"),),
        kv_cache="fp8",
    )
    words = in_words(recipe)
    assert [group["targets"] for group in words["groups"]] == [["re:.*down_proj"], ["Linear"]]
    eight, four = words["groups"]
    assert (eight["weights"]["num_bits"], eight["inputs"]["strategy"]) == (8, "token")
    assert (four["weights"]["num_bits"], four["inputs"]) == (4, None)
    assert (words["smoothing"], words["kv_cache"]) == (0.8, "fp8")
    assert [scheme_of(recipe, name) for name in (LAYER, "model.layers.3.mlp.up_proj")] == [
        "w8a8-int8", "w4a16"
    ]  # fmt: skip
    assert (group_of(recipe, "w4a16"), group_of(recipe, "w8a8-int8")) == (128, None)


def test_activations_are_whole_numbers_or_floats_found_now_or_before() -> None:
    inputs = {
        name: in_words(compressed(name, calibration=calibration))["groups"][0]["inputs"]
        for name, calibration in (
            ("w8a8-int8", TALKS), ("fp8-dynamic", None), ("fp8-static", TALKS)
        )
    }  # fmt: skip
    assert {name: (one["type"], one["dynamic"]) for name, one in inputs.items()} == {
        "w8a8-int8": ("int", True),
        "fp8-dynamic": ("float", True),
        "fp8-static": ("float", False),
    }


def test_only_awq_has_zero_points_by_itself() -> None:
    symmetric = {
        name: in_words(compressed("w4a16", algorithm=name, calibration=calibration))["groups"][0][
            "weights"
        ]["symmetric"]
        for name, calibration in (("awq", TALKS), ("gptq", TALKS), ("nearest", None))
    }
    assert symmetric == {"awq": False, "gptq": True, "nearest": True}


def test_a_pattern_means_names_as_compressed_tensors_reads_them() -> None:
    """From the beginning of a name if it is a regular expression, the whole name if not."""
    recipe = GptqSpec(calibration=TALKS, ignore=("re:down_proj", "mlp.up_proj", "re:.*layers.0"))
    assert scheme_of(recipe, LAYER) == "gptq"
    assert scheme_of(recipe, "model.layers.3.mlp.up_proj") == "gptq"
    assert scheme_of(recipe, "model.layers.0.mlp.up_proj") is None
    assert bits_of(recipe) == 4
    assert bits_of(compressed("fp8-dynamic")) == 8
