from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from deployments.recipes import RECIPES
from infra.contracts.records import Report
from infra.contracts.specs import RunSpec
from tests.infra.made_runs import make_run


def changed(**changes: Any) -> dict[str, Any]:
    data = RECIPES["sample"]().model_dump(mode="json")
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = data
        for parent in parents:
            target = target[parent]
        target[last] = value
    return data


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_json(name: str) -> None:
    spec = RECIPES[name]()
    assert RunSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"quantization__bits": 3}, "AutoAWQ writes 4-bit"),
        ({"quantization__group_size": 48}, "32, 64 or 128"),
        ({"quantization__zero_point": False}, "zero_point"),
        ({"quantization__version": "gemv"}, "GEMM"),
        ({"quantization__calibration__min_samples": 64}, "min_samples"),
        ({"model__revision": "main"}, "no revisions"),
        ({"serving__extra_args": ["--port=1"]}, "--port"),
        ({"serving__extra_args": ["--api_key", "x"]}, "--api-key"),
        ({"serving__device": "cpu", "serving__tensor_parallel_size": 2}, "tensor_parallel_size"),
        ({"evaluation__tasks": [{"name": "gsm8k"}, {"name": "gsm8k"}]}, "twice"),
        ({"evaluation__fewshot_as_multiturn": True}, "chat_template"),
        ({"evaluation__tasks": [{"name": "gsm8k", "max_gen_toks": 4096}]}, "max_model_len"),
        ({"evaluation__tasks": []}, "at least 1 item"),
        ({"serving__nosuchfield": 1}, "Extra inputs are not permitted"),
        ({"results__label": "Upper Case"}, "pattern"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_work_is_refused_when_the_spec_is_built(
    change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        RunSpec.model_validate(changed(**change))


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RECIPES["sample"]().model.id = "other"  # type: ignore[misc]


@pytest.mark.parametrize("read", ["model_validate", "model_validate_json"])
def test_what_is_refused_by_now_can_still_be_read(read: str, tmp_path: Path) -> None:
    """Of a run that was allowed when it was made."""
    made = make_run(tmp_path, rows=4).model_dump(mode="json")
    made["spec"]["serving"]["extra_args"] = ["--load-format", "auto", "--port", "1"]
    given = made if read == "model_validate" else json.dumps(made)
    found = getattr(Report, read)(given)
    assert found.spec.serving.extra_args == ("--load-format", "auto", "--port", "1")
    with pytest.raises(ValidationError, match="--load-format"):
        RunSpec.model_validate(made["spec"])
