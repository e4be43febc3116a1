from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from infra.contracts.specs import RunSpec
from infra.machine.device import Device
from infra.stages import side_by_side as rule
from infra.stages.side_by_side import side_by_side
from infra.store.settings import Settings

CALIBRATION = {"path": "conversations.jsonl"}
AWQ = {"method": "awq", "calibration": CALIBRATION}
GGUF = {"method": "gguf", "type": "q4_k_m"}


def spec(baseline: Mapping[str, Any], *candidates: Mapping[str, Any]) -> RunSpec:
    model = {"source": "local", "id": "model"}
    return RunSpec.model_validate(
        {
            "baseline": {"model": model, **baseline},
            "candidates": [{"name": f"c{n}", **one} for n, one in enumerate(candidates)],
            "evaluation": {"tasks": [{"name": "gsm8k"}]},
        }
    )


@pytest.mark.parametrize(
    ("run", "slots", "expected"),
    [
        (spec({}, {"quantization": AWQ}), "a", False),
        (spec({}, {"quantization": AWQ}), "a,b", True),
        (spec({}, {"quantization": AWQ}), None, False),
        (spec({}, {"quantization": AWQ}), "none", False),
        (spec({}, {"serving": {"dtype": "bfloat16"}}), "a,b", False),
        (spec({}, {"serving": {"dtype": "bfloat16"}}, {"quantization": AWQ}), "a,b", True),
        (spec({"quantization": AWQ}, {"serving": {"dtype": "bfloat16"}}), "a,b", False),
        (spec({}), "a,b", False),
    ],
)
def test_on_a_processor_it_takes_a_second_slot(
    run: RunSpec, slots: str | None, expected: bool
) -> None:
    assert side_by_side(run, Settings(accelerators=slots)) is expected


def gpus(wanted: str = "auto") -> Device:
    kind, name = ("cpu", "a processor") if wanted == "cpu" else ("cuda", "NVIDIA H200")
    return Device.model_validate({"kind": kind, "name": name, "count": 1, "memory_bytes": 2**37})


@pytest.mark.parametrize(
    ("run", "cards", "expected"),
    [
        (spec({}, {"quantization": AWQ}), 1, False),
        (spec({}, {"quantization": AWQ}), 2, True),
        (spec({"serving": {"tensor_parallel_size": 2}}, {"quantization": AWQ}), 2, False),
        (spec({"serving": {"tensor_parallel_size": 2}}, {"quantization": AWQ}), 3, True),
        (spec({}, {"quantization": GGUF, "serving": {"engine": "llamacpp"}}), 1, True),
        (
            spec(
                {}, {"quantization": GGUF, "serving": {"engine": "llamacpp"}}, {"quantization": AWQ}
            ),
            1,
            False,
        ),
    ],
)
def test_what_is_made_on_the_processor_takes_no_card(
    monkeypatch: pytest.MonkeyPatch, run: RunSpec, cards: int, expected: bool
) -> None:
    monkeypatch.setattr(rule, "detect", gpus)
    monkeypatch.setattr(rule, "allowed", lambda device, names: tuple(range(cards)))
    assert side_by_side(run, Settings()) is expected
