from __future__ import annotations

import pytest

from infra.contracts.errors import EvaluationError, UnknownTask
from infra.store.settings import Settings
from infra.suite.harness.definitions.catalog import catalog


def test_a_tag_stands_for_its_tasks_and_a_group_with_a_score_for_itself() -> None:
    entries = catalog(settings=Settings()).entries(["gsm8k", "global_mmlu_en", "gpqa"])
    assert len(entries) == 17
    assert entries["gsm8k"].leaves[0].dataset == "openai/gsm8k"
    group = entries["global_mmlu_en"]
    assert group.kind == "group"
    assert [leaf.name for leaf in group.leaves] == [
        f"global_mmlu_en_{subject}"
        for subject in ("business", "humanities", "medical", "other", "stem", "social_sciences")
    ]
    assert next(iter(group.definitions)) == "global_mmlu_en"
    assert {
        leaf.dataset for name in entries if "gpqa" in name for leaf in entries[name].leaves
    } == {"Idavidrein/gpqa"}


def test_groups_within_groups_and_overrides_are_seen() -> None:
    (mmlu,) = catalog(settings=Settings()).entries(["mmlu"]).values()
    assert len(mmlu.leaves) == 57
    assert {"mmlu", "mmlu_stem", "mmlu_anatomy"} <= mmlu.definitions.keys()
    assert all(leaf.own for leaf in mmlu.leaves)
    redirected = [
        leaf
        for name, entry in catalog(settings=Settings()).names.items()
        if entry.kind == "group" and name == "t0_eval"
        for leaf in catalog(settings=Settings())._leaves([name], {}, {})
    ]
    assert redirected
    assert not any(leaf.own for leaf in redirected)


def test_a_group_without_a_score_stands_for_its_members_if_it_leaves_them_as_they_are() -> None:
    assert "darija_translation_flores" not in (
        entries := catalog(settings=Settings()).entries(["darija_translation_flores"])
    )
    assert all(entry.kind == "task" for entry in entries.values())
    with pytest.raises(EvaluationError, match="no score of its own") as refused:
        catalog(settings=Settings()).entries(["openllm"])
    assert "arc_challenge, hellaswag" in refused.value.remedy


def test_an_unknown_name_is_refused_with_similar_ones() -> None:
    with pytest.raises(UnknownTask, match="'gsm8kk'") as refused:
        catalog(settings=Settings()).entries(["gsm8k", "gsm8kk"])
    assert "gsm8k" in f"{refused.value.cause} {refused.value.remedy}".split("gsm8kk")[-1]


@pytest.mark.parametrize(
    ("task", "why"), [("humaneval", "runs code"), ("mmmu_val_art", "shows pictures")]
)
def test_tasks_that_cannot_run_here_are_refused(task: str, why: str) -> None:
    with pytest.raises(EvaluationError, match=f"{task} {why}"):
        catalog(settings=Settings()).entries([task])
