"""AutoAWQ's memory against a measured peak."""

from __future__ import annotations

from infra.contracts.specs import CalibrationSpec
from infra.models.memory_need import GIB, from_name
from infra.quantizers.awq.memory import SHARE
from infra.quantizers.awq.memory import need as quantizing


def test_what_autoawq_was_measured_to_need_is_estimated() -> None:
    """5.2 GiB of an H200 for 64 × 512 tokens through 1.5 billion parameters."""
    shape = from_name("Qwen2.5-1.5B")
    assert shape
    calibration = CalibrationSpec(path="x", max_samples=64, max_sequence_length=512)
    found = quantizing(shape, calibration, gpu=True)
    assert 0.8 < found.device / (5.2 * GIB) < 1.3
    assert found.host > 3e9
    assert quantizing(shape, calibration, gpu=False).host > found.host + found.device


def test_a_4_bit_checkpoint_of_7_billion_is_between_5_and_7_gigabytes() -> None:
    """Qwen2.5-7B-Instruct-AWQ has 5.57 GB."""
    shape = from_name("Qwen2.5-7B")
    assert shape and 5e9 < shape.parameters * 2 * SHARE < 7e9
