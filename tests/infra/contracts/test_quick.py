"""The short form becomes an ordinary run, and a wrong value does not get that far."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import ValidationError as Refused
from prefect.utilities.schema_tools import validate
from pydantic import ValidationError

from deployments.recipes import sample
from flows.evaluate_quickly import evaluate_quickly
from infra.contracts.errors import SpecError
from infra.contracts.specs import ModelSpec, RunSpec
from infra.contracts.specs.quick import QuickSpec, run_of
from tests.conftest import ROOT

SCHEMA = parameter_schema(evaluate_quickly.fn).model_dump()
DEFAULTS = {name: field["default"] for name, field in SCHEMA["properties"].items()}


def run(**changes: Any) -> RunSpec:
    return QuickSpec(**DEFAULTS | changes).run


def test_the_form_has_few_fields_and_each_says_what_it_is() -> None:
    assert len(SCHEMA["properties"]) <= 8
    assert SCHEMA["required"] == []
    assert all(field["description"] for field in SCHEMA["properties"].values())
    assert set(DEFAULTS) == set(QuickSpec.model_fields)
    deployed = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"][0]
    assert (deployed["name"], deployed["parameters"]) == ("quick", {})


def test_the_sample_is_run_by_its_recipe() -> None:
    recipe = sample()
    tasks = [task.name for task in recipe.evaluation.tasks]
    verdict = recipe.verdict.model_copy(update={"margin_points": 2})
    results = recipe.results.model_copy(update={"label": "sample-standard"})
    expected = recipe.model_copy(update={"verdict": verdict, "results": results})
    assert run(rows="standard", tasks=tasks) == expected


def test_few_rows_are_fewer_and_full_is_all() -> None:
    limits = {
        rows: [task.limit for task in run(model="a/b", rows=rows).evaluation.tasks]
        for rows in ("quick", "standard", "full")
    }
    assert all(few < many for few, many in zip(limits["quick"], limits["standard"], strict=True)), (
        limits
    )
    assert limits["full"] == [None, None]


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", ModelSpec(id="Qwen/Qwen2.5-7B-Instruct")),
        ("ms:a/b@v1.0", ModelSpec(id="a/b", revision="v1.0")),
        ("hf:a/b", ModelSpec(id="a/b", source="huggingface")),
        ("/models/a, b"[:9], ModelSpec(id="/models/a", source="local")),
        ("./a/b/c", ModelSpec(id="./a/b/c", source="local")),
        ("~/a", ModelSpec(id="~/a", source="local")),
    ],
)
def test_where_a_model_comes_from_stands_before_it(text: str, model: ModelSpec) -> None:
    made = run(model=text)
    assert made.baseline.model == model
    assert made.candidates[0].quantization is not None
    assert made.candidates[0].quantization.calibration is not None
    assert made.candidates[0].quantization.calibration.path == "calibration.jsonl"
    assert not made.evaluation.datasets
    validate(DEFAULTS | {"model": text}, SCHEMA, raise_on_error=True)


def test_candidates_are_chosen_or_written() -> None:
    chosen = run(candidates=["awq", "gptq", "w8a8", "fp8"])
    assert [one.name for one in chosen.candidates] == [
        "awq-4bit-g128", "gptq-4bit-g128", "w8a8-int8", "fp8-dynamic"
    ]  # fmt: skip
    assert run(candidates="awq, gptq,w8a8 , fp8 ").candidates == chosen.candidates
    (made,) = run(candidates=" hf:Qwen/Qwen2.5-7B-Instruct-AWQ ").candidates
    assert made.name == "qwen2-5-7b-instruct-awq"
    assert made.model == ModelSpec(id="Qwen/Qwen2.5-7B-Instruct-AWQ", source="huggingface")
    assert run(candidates=[]).candidates == run(candidates="").candidates == ()


def test_tasks_are_chosen_or_written() -> None:
    written = run(model="a/b", tasks="mmlu, mmlu_pro").evaluation.tasks
    assert [(task.name, task.num_fewshot, task.limit) for task in written] == [
        ("mmlu", 5, 2), ("mmlu_pro", None, 10)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("form", "fact"),
    [
        ({"tasks": "gsm8k, mmlu"}, "no rows of mmlu"),
        ({"candidates": "./a/x, ./b/x"}, "Two candidates are called x"),
    ],
)
def test_what_the_form_cannot_tell_is_one_error_of_ours(form: dict[str, Any], fact: str) -> None:
    validate(DEFAULTS | form, SCHEMA, raise_on_error=True)
    with pytest.raises(SpecError) as refused:
        run_of(**DEFAULTS | form)
    assert str(refused.value).startswith(refused.value.fact)
    assert fact in refused.value.fact and refused.value.remedy


def test_a_label_is_the_model_and_how_many_rows_unless_it_is_given() -> None:
    assert run(model="hf:Qwen/Qwen2.5-7B").results.label == "qwen2-5-7b-quick"
    named = run(label="nightly", notify="team").results
    assert (named.label, named.notify) == ("nightly", "team")
    assert len(run(model="a/" + "b" * 90, rows="standard").results.label) == 64


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "Qwen2.5"},
        {"model": "hf:a/b/c"},
        {"model": "gh:a/b"},
        {"candidates": ["awq", "int3"]},
        {"candidates": "awq; gptq"},
        {"candidates": "awq, int3"},
        {"tasks": ["gsm9k"]},
        {"tasks": []},
        {"tasks": ""},
        {"rows": "some"},
        {"margin": 0},
        {"margin": "two"},
        {"label": "My Label"},
        {"notify": "a b"},
        {"device": "cuda"},
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_by_the_form(wrong: dict[str, Any]) -> None:
    validate(DEFAULTS, SCHEMA, raise_on_error=True)
    known = wrong.keys() <= DEFAULTS.keys()
    if known:  # what the form does not have, Prefect refuses when it starts the flow
        with pytest.raises(Refused):
            validate(DEFAULTS | wrong, SCHEMA, raise_on_error=True)
    with pytest.raises(ValidationError):
        run(**wrong)
