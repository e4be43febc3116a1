from __future__ import annotations

from infra.contracts.specs import CalibrationSpec, CompressedSpec, GptqSpec
from infra.models.memory_need import GIB, Shape, from_config, from_name
from infra.quantizers.compressed.memory import need, share

TALKS = CalibrationSpec(path="x", max_samples=64, max_sequence_length=512)


def shape(name: str) -> Shape:
    found = from_name(name)
    assert found
    return found


def test_what_needs_no_conversations_takes_a_layer_of_the_gpu() -> None:
    seven = shape("Qwen2.5-7B")
    rounding = need(seven, CompressedSpec(scheme="fp8-dynamic"), gpu=True)
    solving = need(seven, GptqSpec(calibration=TALKS), gpu=True)
    assert 14e9 < rounding.host < solving.host
    assert GIB < rounding.device < 3 * GIB
    assert solving.device > rounding.device + 4 * 18944**2 * 2


def test_on_a_cpu_the_model_stands_in_float32() -> None:
    seven = shape("Qwen2.5-7B")
    found = need(seven, GptqSpec(calibration=TALKS), gpu=False)
    assert found.device == 0
    assert found.host > 4 * seven.parameters


def test_more_conversations_take_more() -> None:
    seven, more = shape("Qwen2.5-7B"), TALKS.model_copy(update={"max_samples": 512})
    for recipe in (GptqSpec, lambda calibration: CompressedSpec(
        algorithm="awq", calibration=calibration
    )):  # fmt: skip
        few, many = (need(seven, recipe(calibration=one), gpu=True) for one in (TALKS, more))
        assert many.host > few.host


def test_the_share_of_the_sample_is_what_was_made_of_it() -> None:
    """2.90 and 4.66 MB of 8.12. Its embedding is its head as well, which no size tells."""
    config = {
        "num_attention_heads": 4, "hidden_size": 256, "num_hidden_layers": 6,
        "num_key_value_heads": 2, "intermediate_size": 512, "vocab_size": 2048, "head_dim": 64,
        "dtype": "float16",
    }  # fmt: skip
    found = from_config(config, 8_124_928)
    assert found
    four, eight = (
        share(found, GptqSpec(calibration=TALKS)),
        share(found, CompressedSpec(scheme="fp8-dynamic")),
    )
    assert 2.90 < four * 8.12 < 2.90 * 1.4
    assert 4.66 < eight * 8.12 < 4.66 * 1.2
