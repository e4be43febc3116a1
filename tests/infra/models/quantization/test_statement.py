"""Where a checkpoint says that it is quantized."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.models.quantization import in_files
from infra.models.quantization.statement import find

AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}


def reader(**files: Any) -> Any:
    raw = {
        name.replace("__", "."): value if isinstance(value, bytes) else json.dumps(value).encode()
        for name, value in files.items()
    }
    return raw.get


@pytest.mark.parametrize(
    ("files", "said_in"),
    [
        ({"config__json": {"quantization_config": AWQ}}, "config.json: quantization_config"),
        ({"config__json": {"compression_config": AWQ}}, "config.json: compression_config"),
        (
            {"config__json": {"text_config": {"quantization_config": AWQ}}},
            "config.json: text_config.quantization_config",
        ),
        ({"config__json": {}, "quant_config__json": AWQ}, "quant_config.json"),
        ({"quantize_config__json": AWQ}, "quantize_config.json"),
        ({"hf_quant_config__json": AWQ}, "hf_quant_config.json"),
        ({"quantization_config__json": AWQ}, "quantization_config.json"),
    ],
)
def test_it_is_found_wherever_it_stands(files: dict[str, Any], said_in: str) -> None:
    found = find(reader(**files))
    assert found is not None
    assert (found.values, found.files) == (AWQ, [said_in])
    only = [one for one in found.doubts if one.startswith(f"only {said_in}")]
    assert bool(only) != said_in.startswith("config.json")


def test_config_json_decides_and_the_other_is_said() -> None:
    found = find(
        reader(
            config__json={"quantization_config": AWQ},
            quantize_config__json={"bits": 8, "group_size": "128", "desc_act": True},
        )
    )
    assert found is not None
    assert found.values == AWQ
    assert found.files == ["config.json: quantization_config", "quantize_config.json"]
    assert found.doubts == [
        "quantize_config.json says bits is 8, config.json: quantization_config says 4"
    ]


def test_modelopts_own_file_is_compared_one_level_deeper() -> None:
    found = find(
        reader(
            config__json={"quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8"}},
            hf_quant_config__json={"quantization": {"quant_algo": "NVFP4"}},
        )
    )
    assert found is not None
    assert "hf_quant_config.json says quant_algo is 'NVFP4'" in found.doubts[0]


@pytest.mark.parametrize(
    ("files", "doubt"),
    [
        (
            {"config__json": {"quantization_config": AWQ}, "quantize_config__json": b"{"},
            "quantize_config.json is no JSON",
        ),
        (
            {"config__json": {"quantization_config": AWQ}, "quant_config__json": []},
            "quant_config.json is no JSON object",
        ),
        (
            {"config__json": {"quantization_config": "awq"}, "quant_config__json": AWQ},
            "config.json: quantization_config is no object: 'awq'",
        ),
    ],
)
def test_what_cannot_be_read_is_said(files: dict[str, Any], doubt: str) -> None:
    found = in_files(reader(**files))
    assert found is not None
    assert doubt in found.doubts


@pytest.mark.parametrize("files", [{}, {"config__json": b"\xff"}, {"config__json": [1]}])
def test_nothing_is_found_where_nothing_stands(files: dict[str, Any]) -> None:
    assert find(reader(**files)) is None
