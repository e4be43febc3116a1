from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from deployments.recipes import RECIPES
from infra.contracts.records import Report
from infra.contracts.specs import RunSpec, ServingChanges, ServingSpec, VerdictSpec
from tests.infra.made_runs import make_run, make_spec


def changed(data: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a document with fields replaced: `candidates__0__name`."""
    for path, value in changes.items():
        *parents, last = path.split("__")
        target: Any = data
        for parent in parents:
            target = target[int(parent) if parent.isdigit() else parent]
        target[last] = value
    return data


def short_form(**changes: Any) -> dict[str, Any]:
    """Return the document of a run of one model and one recipe."""
    found = RECIPES["sample"]().short_form
    assert found is not None
    return changed(found, **changes)


def whole_form(**changes: Any) -> dict[str, Any]:
    """Return the document of a run of two candidates: a recipe, and another way to serve."""
    return changed(make_spec(2).model_dump(mode="json"), **changes)


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
        ({"serving__yarn_factor": 4.0, "serving__max_model_len": None}, "without max_model_len"),
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
        RunSpec.model_validate(short_form(**change))


FP8 = ["--kv-cache-dtype", "fp8"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"candidates__1__name": "quantized"}, "Two candidates are called quantized"),
        ({"candidates__1__name": "baseline"}, "A candidate is called 'baseline'"),
        ({"candidates__1__name": "Upper Case"}, "pattern"),
        ({"candidates__1__name": "x" * 41}, "at most 40 characters"),
        ({"candidates__1__serving": None}, "Candidate candidate-2 changes nothing"),
        ({"candidates__1__serving": {"dtype": None}}, "Candidate candidate-2 changes nothing"),
        ({"candidates__1__serving__extra_args": [*FP8, "--port=1"]}, "--port"),
        ({"candidates__1__serving__variables": {"HF_TOKEN": "x"}}, "HF_TOKEN"),
        ({"candidates__1__serving__nosuchfield": 1}, "Extra inputs are not permitted"),
        ({"candidates__1__serving__max_model_len": 1}, "greater than or equal to 64"),
        ({"candidates__0__quantization__bits": 3}, "AutoAWQ writes 4-bit"),
        ({"candidates__1__quantisation": {}}, "Extra inputs are not permitted"),
        # Settings that go together in each alone, and not in a candidate beside the baseline.
        (
            {
                "baseline__serving__device": "cpu",
                "candidates__1__serving__tensor_parallel_size": 2,
            },
            "tensor_parallel_size=2 with device='cpu'",
        ),
        (
            {
                "evaluation__tasks__0__max_gen_toks": 512,
                "candidates__1__serving__max_model_len": 256,
            },
            r"but candidates\.candidate-2\.serving\.max_model_len is 256",
        ),
        ({"model": {"id": "other"}}, "both baseline, candidates and model"),
        ({"verdict__gate": "most"}, "'all', 'any' or 'none'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_candidates_that_cannot_work_are_refused_when_the_spec_is_built(
    change: dict[str, Any], said: str
) -> None:
    RunSpec.model_validate(whole_form())
    with pytest.raises(ValidationError, match=said):
        RunSpec.model_validate(whole_form(**change))


def test_the_short_form_is_one_baseline_and_one_candidate() -> None:
    spec = RECIPES["sample"]()
    given = short_form()
    assert RunSpec.model_validate(given) == spec
    assert RunSpec.model_validate_json(json.dumps(given)) == spec
    assert not {"model", "quantization", "serving"} & set(spec.model_dump())
    assert [*spec.arms] == ["baseline", "awq-4bit-g128"]
    assert spec.baseline.model.id == given["model"]["id"]
    assert spec.baseline.quantization is None
    arm = spec.arms["awq-4bit-g128"]
    assert (arm.model, arm.serving) == (spec.baseline.model, spec.baseline.serving)
    assert arm.quantization is not None
    assert arm.quantization.model_dump(mode="json") == given["quantization"]


CONVERSATIONS = {"path": "other.jsonl"}


@pytest.mark.parametrize("change", [
    {"candidates": []},
    {"candidates": make_spec(2).model_dump(mode="json")["candidates"]},
    {"candidates__0__name": "mine"},
    {"candidates__0__serving": {"dtype": "float16"}},
    {"candidates__0__model": {"id": "other"}},
    {"baseline__quantization": {"calibration": CONVERSATIONS}},
    {"conversations": CONVERSATIONS},
])  # fmt: skip
def test_what_is_not_one_model_and_one_recipe_has_no_short_form(change: dict[str, Any]) -> None:
    whole = make_spec().model_dump(mode="json")
    whole["candidates"][0]["name"] = "awq-4bit-g128"
    spec = RunSpec.model_validate(whole)
    assert RunSpec.model_validate(spec.short_form) == spec
    assert RunSpec.model_validate(changed(whole, **change)).short_form is None


def test_a_candidate_is_as_the_baseline_but_for_what_it_changes() -> None:
    data = whole_form(
        baseline__serving__max_model_len=1024,
        baseline__serving__variables={"A": "1"},
        candidates__1__serving={"dtype": "float16", "enforce_eager": False},
    )
    arms = RunSpec.model_validate(data).arms
    before, served, made = arms["baseline"], arms["candidate-2"], arms["quantized"]
    assert (made.model, made.serving) == (before.model, before.serving)
    assert (served.model, served.quantization) == (before.model, None)
    assert served.serving == before.serving.model_copy(update={"dtype": "float16"})
    other = {"id": "elsewhere", "source": "huggingface"}
    arms = RunSpec.model_validate(changed(data, candidates__1__model=other)).arms
    assert arms["candidate-2"].model.id == "elsewhere"
    assert arms["candidate-2"].serving == served.serving


def test_every_setting_can_be_changed_and_left_alone() -> None:
    assert list(ServingChanges.model_fields) == list(ServingSpec.model_fields)
    own = ServingSpec(max_model_len=512, extra_args=("--max-num-seqs", "8"), adjust=True)
    assert ServingChanges().over(own) == own
    assert ServingChanges().changed == {}
    assert ServingChanges(**own.model_dump()).over(ServingSpec()) == own


@pytest.mark.parametrize(("given", "gate"), [
    (True, "all"), (False, "none"), ("all", "all"), ("any", "any"), ("none", "none"),
])  # fmt: skip
def test_a_gate_of_the_time_of_one_candidate_is_read(given: object, gate: str) -> None:
    assert VerdictSpec.model_validate({"gate": given}).gate == gate


def test_several_candidates_err_together_no_more_often_than_one() -> None:
    verdict = VerdictSpec(confidence=0.95)
    assert verdict.among(1) == verdict
    assert verdict.among(5).confidence == pytest.approx(0.99)
    spec = make_spec(4)
    assert spec.judged_verdict == spec.verdict.among(4)
    assert make_spec().judged_verdict == spec.verdict


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RECIPES["sample"]().baseline.model.id = "other"  # type: ignore[misc]


@pytest.mark.parametrize("read", ["model_validate", "model_validate_json"])
def test_what_is_refused_by_now_can_still_be_read(read: str, tmp_path: Path) -> None:
    """Of a run that was allowed when it was made."""
    made = make_run(tmp_path, rows=4, candidates=2).model_dump(mode="json")
    extra_args = ["--load-format", "auto", "--port", "1"]
    made["spec"]["baseline"]["serving"]["extra_args"] = extra_args
    made["spec"]["candidates"][1]["serving"] = {"dtype": "float16"}
    given = made if read == "model_validate" else json.dumps(made)
    found = getattr(Report, read)(given)
    assert {arm.serving.extra_args for arm in found.spec.arms.values()} == {tuple(extra_args)}
    assert found.pairs[1].arm.serving.dtype == "float16"
    with pytest.raises(ValidationError, match="--load-format"):
        RunSpec.model_validate(made["spec"])
