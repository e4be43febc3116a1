"""What configurations of many programs mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.records import Quantization, QuantizationScheme
from infra.models import quantization
from tests.conftest import ROOT
from tests.infra.models.quantization.configs import CONFIGS, INT4, compressed


def read(config: Any, **files: Any) -> Quantization | None:
    """Read a quantization_config, and other files beside config.json."""
    content = {"config.json": {"architectures": ["A"], "quantization_config": config}, **files}
    texts = {name: json.dumps(value).encode() for name, value in content.items()}
    return quantization.in_files(texts.get)


def understood(config: Any) -> Quantization:
    found = read(config)
    assert found is not None
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_each_is_described(name: str) -> None:
    config, phrase = CONFIGS[name]
    found = understood(config)
    assert found.description == phrase
    assert found.understood == ("unknown method" not in phrase)
    # It goes into a report and comes back.
    assert Quantization.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize("name", CONFIGS)
def test_only_what_is_odd_leaves_a_doubt(name: str) -> None:
    config, _ = CONFIGS[name]
    doubts = understood(config).doubts
    expected = {
        "AutoAWQ, early": ("quant_method is missing; by its fields it is awq",),
        "HQQ": ("the method 'hqq' is unknown",),
        "EETQ": ("the method 'eetq' is unknown",),
        "something of tomorrow": ("the method 'qwertz' is unknown",),
    }
    assert doubts == expected.get(name, ())


def test_all_fields_of_a_scheme() -> None:
    found = understood(CONFIGS["GPTQModel, act-order and rules"][0])
    assert (found.method, found.format, found.made_with) == ("gptq", "gptq", "gptqmodel 5.6.0")
    assert found.ignored == (r"re:.*\.shared_expert_gate",)
    assert found.schemes == (
        QuantizationScheme(
            bits=4, number="int", per="group", group_size=128, symmetric=False, act_order=True
        ),
        QuantizationScheme(
            targets=(r"re:.*\.down_proj",),
            bits=8, number="int", per="group", group_size=64, symmetric=False, act_order=True,
        ),
    )  # fmt: skip


def test_layers_of_one_scheme_are_one_scheme() -> None:
    found = understood(CONFIGS["ModelOpt, mixed"][0])
    assert found.method == "modelopt_mixed"
    assert [scheme.targets for scheme in found.schemes] == [
        ("model.layers.0.mlp.experts", "model.layers.1.mlp.experts"),
        ("model.layers.3.self_attn.q_proj",),
    ]


@pytest.mark.parametrize(
    ("name", "method", "made_with"),
    [
        ("ModelOpt", "modelopt", "modelopt 0.29.0"),
        ("ModelOpt NVFP4", "modelopt_fp4", "modelopt 0.35.0"),
        ("AutoRound", "inc", "AutoRound 0.8.0"),
        ("W4A16", "compressed-tensors", "compressed-tensors 0.12.2"),
        ("AutoAWQ", "awq", None),
    ],
)
def test_methods_have_the_engines_names_and_programs_theirs(
    name: str, method: str, made_with: str | None
) -> None:
    found = understood(CONFIGS[name][0])
    assert (found.method, found.made_with) == (method, made_with)


def test_rotated_weights_are_recognized_by_their_transforms() -> None:
    assert understood(CONFIGS["rotated"][0]).rotated
    assert not understood(CONFIGS["W4A16"][0]).rotated


@pytest.mark.parametrize(
    ("config", "phrase", "doubt"),
    [
        (
            {"quant_method": "awq", "bits": "4", "group_size": "128", "zero_point": "true"},
            "AWQ 4-bit, groups of 128, zero points",
            "bits is written as text: '4'",
        ),
        (
            {"quant_method": "GPTQ", "bits": [4], "group_size": -1, "sym": 1},
            "GPTQ, one scale a channel",
            "bits is no whole number: [4]",
        ),
        ({"quant_method": "fp8", "activation_scheme": "often"}, "FP8", "often"),
        ({"quant_method": "fp8", "modules_to_not_convert": {"a": 1}}, "FP8", "no list of names"),
        ({"bits": 4, "group_size": 64}, "unnamed (unknown method) 4-bit, groups of 64", "missing"),
        (compressed("pack-quantized"), "compressed-tensors", "describe no layer"),
        (
            compressed("x", {"weights": {**INT4, "strategy": "zigzag"}}),
            "compressed-tensors 4-bit, groups of 128",
            "config_groups.group_0.weights.strategy is unknown: 'zigzag'",
        ),
        (
            {"quant_method": "compressed-tensors", "config_groups": ["a"]},
            "compressed-tensors",
            "no object",
        ),
        ({"quant_method": "modelopt", "quant_algo": "FP2"}, "ModelOpt", "unknown: 'FP2'"),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": False},
            "bitsandbytes",
            "it does not say which of load_in_4bit and load_in_8bit holds",
        ),
    ],
)
def test_what_makes_no_sense_is_said_and_the_rest_is_read(
    config: dict[str, Any], phrase: str, doubt: str
) -> None:
    found = understood(config)
    assert found.description.startswith(phrase)
    assert any(doubt in one for one in found.doubts), found.doubts


@pytest.mark.parametrize("config", [None, {}, [], ""])
def test_what_is_not_quantized_has_none(config: Any) -> None:
    assert read(config) is None


JUNK = [
    7, True, "x", None, [], [1, "a"], {}, {"a": {"b": [None]}}, "4", -1, 1e99, float("inf"),
    float("nan"), "∞",
]  # fmt: skip


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("name", CONFIGS)
def test_no_value_of_any_field_is_refused(name: str, junk: Any) -> None:
    def spoiled(value: Any) -> list[Any]:
        """Return a value with one thing in it replaced, in every way."""
        if isinstance(value, dict):
            keys = [(key, each) for key in value for each in [junk, *spoiled(value[key])]]
            return [{**value, key: each} for key, each in keys]
        return []

    for config in spoiled(CONFIGS[name][0]):
        found = read(config)
        assert found is None or found.description


def test_the_sample_is_not_quantized() -> None:
    assert quantization.of(ROOT / "infra" / "sample" / "model") is None


def test_a_folder_without_configuration_says_nothing(tmp_path: Path) -> None:
    assert quantization.of(tmp_path) is None
