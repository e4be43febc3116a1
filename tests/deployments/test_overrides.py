from __future__ import annotations

import json

import pytest

from deployments.overrides import override, parse
from deployments.recipes import sample
from infra.contracts.errors import SpecError
from infra.contracts.specs import DatasetSpec, TaskSpec
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
    assert spec.serving.dtype == "float16"
    assert [task.limit for task in spec.evaluation.tasks] == [7, None, 60]
    assert spec.serving.extra_args == ("--max-num-seqs", "8")


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
    assert spec.serving.extra_args == ("--max-num-seqs", "8")
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
    assert (spec.results.label, spec.model.revision) == ("2024", "12345678")
    assert spec.serving.extra_args == ("--max-num-seqs", "64")
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
        ("evaluation.concurrency=none", "evaluation.concurrency"),
    ],
)
def test_a_wrong_assignment_gets_one_clear_error(assignment: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        override(sample(), [assignment])
    assert said in str(caught.value)
    assert "remedy:" in str(caught.value)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(SpecError, match=r"model: Field required|model\.id"):
        parse({"evaluation": {"tasks": [{"name": "gsm8k"}]}})


def test_every_path_that_a_receipt_prints_can_be_set() -> None:
    spec = override(
        sample(), ['evaluation.datasets["a.b/c"].path=rows', "evaluation.tasks.0.name=a.b"]
    )
    for path, value in leaves(spec.model_dump(mode="json")):
        assert override(spec, [f"{path}={json.dumps(value)}"]) == spec, path
