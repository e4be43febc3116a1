from __future__ import annotations

import json
from typing import Any

import pytest

from deployments.overrides import override, override_matrix, parse, parse_matrix
from deployments.recipes import sample
from infra.contracts.errors import SpecError
from infra.contracts.specs import (
    CalibrationSpec,
    DatasetSpec,
    ModelSpec,
    ServingChanges,
    ServingSpec,
    TaskSpec,
)
from infra.report.receipt.sealing import leaves


def test_fields_are_replaced_by_path_by_number_and_by_name() -> None:
    spec = override(
        sample(),
        [
            "serving.dtype=float16",
            "evaluation.tasks.gsm8k.limit=7",
            "evaluation.tasks.1.limit=null",
            'serving.extra_args=["--max-num-seqs", "8"]',
        ],
    )
    assert spec.baseline.serving.dtype == "float16"
    assert [task.limit for task in spec.evaluation.tasks] == [7, None, 60]
    assert spec.baseline.serving.extra_args == ("--max-num-seqs", "8")


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("evaluation.datasets.allenai/ai2_arc.path", "allenai/ai2_arc"),
        ("evaluation.datasets.allenai/ai2_arc.v1.path", "allenai/ai2_arc.v1"),
        ("evaluation.datasets.a/b.path.path", "a/b.path"),
        ('evaluation.datasets["allenai/ai2_arc.v1"].path', "allenai/ai2_arc.v1"),
        ('evaluation.datasets["a.b/c"]["path"]', "a.b/c"),
        ('evaluation["datasets"]["a=b/c"].path', "a=b/c"),
        (r'evaluation.datasets["a\"b"].path', 'a"b'),
        ('evaluation.datasets["path"].path', "path"),
        ("evaluation.datasets.openai/gsm8k.path", "openai/gsm8k"),
    ],
)
def test_a_key_of_ones_own_is_set_whatever_it_holds(path: str, key: str) -> None:
    spec = override(sample(), [f"{path}=rows/a=b.c"])
    assert spec.evaluation.datasets[key].path == "rows/a=b.c"
    assert len(spec.evaluation.datasets) == (3 if key == "openai/gsm8k" else 4)


@pytest.mark.parametrize(("path", "key"), [
    ("verdict.margins.word_perplexity", "word_perplexity"),
    ("verdict.margins.wikitext/word_perplexity", "wikitext/word_perplexity"),
    ("verdict.margins.wikitext.v1/r@1", "wikitext.v1/r@1"),
    ('verdict.margins["wikitext.v1/word_perplexity"]', "wikitext.v1/word_perplexity"),
])  # fmt: skip
def test_a_margin_of_a_metric_is_set_by_its_key(path: str, key: str) -> None:
    spec = override(sample(), [f"{path}=0.3"])
    assert spec.verdict.margins == {key: 0.3}
    assert override(spec, [f"{path}=2"]).verdict.margins == {key: 2.0}
    assert override(spec, ['verdict.margins={"acc": 1}']).verdict.margins == {"acc": 1.0}


def test_a_variable_may_have_a_dot() -> None:
    spec = override(sample(), ["serving.variables.A.B=x"])
    assert spec.baseline.serving.variables == {"A.B": "x"}


def test_the_longest_key_that_is_there_counts() -> None:
    spec = override(
        sample(),
        [
            'evaluation.datasets.a.b={"path": "short"}',
            'evaluation.datasets.a={"path": "shorter"}',
            "evaluation.datasets.a.b.source=huggingface",
            "evaluation.datasets.a.b.path=long",
            "evaluation.datasets.a.revision=null",
            "evaluation.tasks[+].name=house.v1",
            "evaluation.tasks.house.v1.limit=5",
        ],
    )
    assert spec.evaluation.datasets["a.b"] == DatasetSpec(source="huggingface", path="long")
    assert spec.evaluation.datasets["a"].path == "shorter"
    assert spec.evaluation.tasks[3] == TaskSpec(name="house.v1", limit=5)


def test_lists_and_objects_of_ones_own_grow() -> None:
    spec = override(
        sample(),
        [
            'evaluation.tasks[+]={"name": "arc_easy", "limit": 3}',
            "evaluation.tasks[0].limit=9",
            'evaluation.tasks["gsm8k"].num_fewshot=2',
            "speed.concurrencies[+]=2",
            "speed.concurrencies.0=8",
            "evaluation.chat_template_kwargs.enable_thinking=false",
            'evaluation.chat_template_kwargs.deep={"a": [1]}',
            "evaluation.chat_template_kwargs.deep.a[+]=2",
            "evaluation.chat_template_kwargs.other.key=y",
            'serving.extra_args[+]=--max-num-seqs',
            'serving.extra_args[+]="8"',
        ],
    )  # fmt: skip
    assert spec.evaluation.tasks[-1] == TaskSpec(name="arc_easy", limit=3)
    assert (spec.evaluation.tasks[0].limit, spec.evaluation.tasks[0].num_fewshot) == (9, 2)
    assert spec.speed.concurrencies == (8, 4, 2)
    assert spec.baseline.serving.extra_args == ("--max-num-seqs", "8")
    assert spec.evaluation.chat_template_kwargs == {
        "enable_thinking": False, "deep": {"a": [1, 2]}, "other": {"key": "y"},
    }  # fmt: skip


def test_a_number_is_text_where_text_is_wanted() -> None:
    spec = override(
        sample(),
        ["results.label=2024", "model.source=huggingface", "model.revision=12345678",
         "serving.extra_args[+]=--max-num-seqs", "serving.extra_args[+]=64",
         "evaluation.tasks[+].name=1.50"],
    )  # fmt: skip
    assert (spec.results.label, spec.baseline.model.revision) == ("2024", "12345678")
    assert spec.baseline.serving.extra_args == ("--max-num-seqs", "64")
    assert spec.evaluation.tasks[-1].name == "1.50"
    with pytest.raises(SpecError, match=r"model\.id"):
        override(sample(), ["model.id=null"])


@pytest.mark.parametrize(
    "assignment",
    ["", "=", "=1", ".", ".serving=1", "serving..dtype=1", "serving.=1", "serving[=1",
     "serving[]=1", 'evaluation.datasets["a.path=1', "evaluation.tasks[0]limit=1", "[+]=1",
     "evaluation.tasks[99].limit=1", "evaluation.tasks[-1].limit=1", "evaluation.tasks.+.limit=1",
     "evaluation.tasks[+].nosuch=1", "serving[+]=1", "evaluation.datasets.a/b=rows",
     "evaluation.datasets.a/b.nosuch=rows", "evaluation.datasets.a/b.path.deeper.still=x",
     "model.revision.a=1", 'evaluation.datasets["\\x"].path=1', "evaluation=1", "serving.dtype"],
)  # fmt: skip
def test_a_path_that_leads_nowhere_gets_one_clear_error(assignment: str) -> None:
    with pytest.raises(SpecError) as caught:
        override(sample(), [assignment])
    assert str(caught.value).count("remedy:") == 1


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("serving.dtype", "not an assignment"),
        ("serving.nosuch=1", "Unknown field 'serving.nosuch'"),
        ("nosuch.dtype=1", "No field 'nosuch.dtype'"),
        ("evaluation.tasks.hellaswag.limit=1", "No field"),
        ("model.id.deeper=1", "No field"),
        ("quantization.bits=3", "4-bit checkpoints only"),
        ("evaluation.datasets.a.b/c.source=s3", 'evaluation.datasets["a.b/c"].source'),
        ("evaluation.tasks[0].limit=0", "evaluation.tasks[0].limit"),
        ("verdict.margins.acc=0", "verdict.margins.acc"),
        ("verdict.margins.acc=-1", "verdict.margins.acc"),
        ("verdict.margins.acc=NaN", "verdict.margins.acc"),
        ("verdict.margins.acc=much", "verdict.margins.acc"),
        ('verdict.margins["acc,none"]=1', "verdict.margins.acc=1"),
        ("verdict.margins.arc/=1", "verdict.margins.word_perplexity=1"),
        ("verdict.margins./acc=1", "verdict.margins.acc=1"),
        ("evaluation.concurrency=none", "evaluation.concurrency"),
        ("quantization.group_size=many", "quantization.group_size: Input should be"),
        ("baseline.serving.nosuch=1", "Unknown field 'baseline.serving.nosuch'"),
        ("candidates[0].nosuch=1", "Unknown field 'candidates[0].nosuch'"),
        ("candidates[0].serving.nosuch.deeper=1", "No field"),
        ("candidates.awq.serving.dtype=auto", "There are awq-4bit-g128"),
        ('candidates[+]={"name": "same"}', "Candidate same changes nothing"),
    ],
)
def test_a_wrong_assignment_gets_one_clear_error(assignment: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        override(sample(), [assignment])
    assert said in str(caught.value)
    assert "remedy:" in str(caught.value)


RECIPE = {"calibration": {"path": "conversations.jsonl"}}
SERVED = {"model": {"id": "some/model"}}


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, r"baseline: Field required.*\ncandidates: Field required"),
        ({"quantization": RECIPE}, r"^model: Field required"),
        ({"quantization": RECIPE, "model": {}}, r"^model\.id: Field required"),
        (SERVED, r"^quantization: Field required"),
        (SERVED | {"quantization": {}}, r"^quantization\.calibration: Field required"),
        ({"baseline": SERVED}, r"^candidates: Field required"),
        ({"baseline": SERVED, "candidates": [{}]}, r"^candidates\[0\]\.name: Field required"),
    ],
)
def test_a_missing_field_is_named_as_it_would_stand_there(
    given: dict[str, object], missing: str
) -> None:
    with pytest.raises(SpecError, match=missing):
        parse({**given, "evaluation": {"tasks": [{"name": "gsm8k"}]}})


@pytest.mark.parametrize(
    ("candidate", "said", "field"),
    [
        ({"quantization": RECIPE | {"group_size": 48}}, "group_size=48 cannot be served",
         "quantization.group_size=64"),
        ({"quantization": {"calibration": {"path": "c", "min_samples": 999}}},
         "calibration.min_samples=999 exceeds", "quantization.calibration.min_samples=9"),
        ({"model": {"id": "a/b", "source": "local", "revision": "main"}}, "revision='main' was",
         "model.revision=null"),
        ({"serving": {"device": "cpu", "tensor_parallel_size": 2}}, "tensor_parallel_size=2 with",
         "serving.tensor_parallel_size=1"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_candidate_and_a_field_that_can_be_set(
    candidate: dict[str, Any], said: str, field: str
) -> None:
    given: dict[str, Any] = {
        "baseline": SERVED,
        "candidates": [{"name": "one", "serving": {"dtype": "float16"}}, {"name": "awq-two"}],
        "evaluation": {"tasks": [{"name": "gsm8k"}]},
    }
    two = given["candidates"][1]
    two |= candidate
    with pytest.raises(SpecError) as caught:
        parse(given)
    path = "candidates.awq-two"
    assert f"{path}.{field.partition('=')[0]}=" in str(caught.value)
    assert said in str(caught.value)
    for part in candidate:
        two.pop(part)
    two["serving"] = {"dtype": "bfloat16"}
    assignments = [f"{path}.{part}={json.dumps(whole)}" for part, whole in candidate.items()]
    with pytest.raises(SpecError, match=said):
        override(parse(given), assignments)
    override(parse(given), [*assignments, f"{path}.{field}"])


def test_a_refusal_in_a_matrix_names_a_field_that_can_be_set() -> None:
    cache = {"name": "cache", "serving": {"dtype": "float16"}}
    given: dict[str, Any] = {
        "models": [{"model": {"id": "a/b"}, "candidates": [
            {"name": "two", "quantization": {"calibration": {"path": "c"}, "group_size": 48}}
        ]}],
        "candidates": [cache],
        "evaluation": {"tasks": [{"name": "gsm8k"}]},
    }  # fmt: skip
    with pytest.raises(SpecError) as caught:
        parse_matrix(given)
    path = "models[0].candidates.two.quantization.group_size"
    assert f"Set {path} to 32, 64 or 128." in str(caught.value)
    given["models"][0]["candidates"][0]["quantization"]["group_size"] = 128
    changed = override_matrix(parse_matrix(given), [f"{path}=64"])
    recipe = changed.models[0].candidates[0].quantization
    assert recipe is not None and recipe.group_size == 64


def test_a_refusal_names_what_embeds_where_the_run_has_it() -> None:
    there = "evaluation.embedding.endpoint"
    with pytest.raises(SpecError, match=f"{there}.url holds a query") as refused:
        override(sample(), [f"{there}.url=http://h/v1?key=x", f"{there}.model=m"])
    assert f"its name into {there}.key_variable" in str(refused.value)
    alone = [f"evaluation.embedding.{one}" for one in ("model.id=m", "endpoint.url=http://h")]
    with pytest.raises(SpecError, match="names both a model and an endpoint"):
        override(sample(), [*alone, f"{there}.model=m"])


def test_conversations_are_refused_by_their_own_name() -> None:
    with pytest.raises(SpecError, match=r"^conversations\.min_samples=999 exceeds"):
        override(sample(), ["conversations.path=c", "conversations.min_samples=999"])


def test_a_file_of_the_short_form_is_the_recipe() -> None:
    data = sample().short_form
    assert data is not None
    assert parse(data) == sample()
    del data["serving"]
    assert parse(data).baseline.serving == ServingSpec()


def test_a_candidate_without_a_name_of_its_own_follows_its_recipe() -> None:
    spec = override(sample(), ["quantization.group_size=64"])
    (candidate,) = spec.candidates
    assert candidate.name == "awq-4bit-g64"
    assert candidate.quantization is not None and candidate.quantization.group_size == 64
    again = override(spec, ["quantization.group_size=32", "candidates[+].name=as-bfloat16",
                            "candidates.as-bfloat16.serving.dtype=bfloat16"])  # fmt: skip
    assert [one.name for one in again.candidates] == ["awq-4bit-g32", "as-bfloat16"]


def test_what_goes_together_is_checked_together() -> None:
    """Each alone would be refused: answers of 160 tokens take more than a window of 128."""
    spec = override(
        sample(), ["serving.max_model_len=128", "evaluation.tasks.gsm8k.max_gen_toks=100"]
    )
    assert spec.baseline.serving.max_model_len == 128


def test_a_candidate_is_added_and_changed_field_by_field() -> None:
    spec = override(
        sample(),
        [
            "candidates[+].name=short-cache",
            "candidates.short-cache.serving.dtype=bfloat16",
            "candidates.short-cache.serving.extra_args[+]=--kv-cache-dtype",
            "candidates.short-cache.serving.extra_args[+]=fp8",
            "candidates.short-cache.serving.variables.VLLM_ATTENTION_BACKEND=7",
            "candidates.awq-4bit-g128.model.id=some/model",
            "serving.max_model_len=1024",
            "conversations.path=talks.jsonl",
        ],
    )
    made, cache = spec.candidates
    assert cache.serving == ServingChanges(
        dtype="bfloat16", extra_args=("--kv-cache-dtype", "fp8"),
        variables={"VLLM_ATTENTION_BACKEND": "7"},
    )  # fmt: skip
    assert made.model == ModelSpec(id="some/model")
    assert made.quantization == sample().candidates[0].quantization
    assert {arm.serving.max_model_len for arm in spec.arms.values()} == {1024}
    assert spec.conversations == CalibrationSpec(path="talks.jsonl")


def test_of_several_candidates_the_one_that_is_meant_has_to_be_named() -> None:
    two = override(
        sample(), ["candidates[+].name=other", "candidates.other.serving.dtype=bfloat16"]
    )
    with pytest.raises(SpecError, match="could be of any candidate") as caught:
        override(two, ["quantization.group_size=64"])
    assert "candidates.NAME.quantization.group_size" in caught.value.remedy
    changed = override(two, ["candidates.awq-4bit-g128.quantization.group_size=64"])
    recipe = changed.candidates[0].quantization
    assert recipe is not None and recipe.group_size == 64


def test_every_path_that_a_receipt_prints_can_be_set() -> None:
    spec = override(
        sample(), ['evaluation.datasets["a.b/c"].path=rows', "evaluation.tasks.0.name=a.b"]
    )
    for path, value in leaves(spec.model_dump(mode="json")):
        assert override(spec, [f"{path}={json.dumps(value)}"]) == spec, path
