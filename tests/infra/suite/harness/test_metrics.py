"""Unit, direction and making of a metric are declared by its definition, whatever values come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import EvaluationError
from infra.contracts.progress import Silent
from infra.contracts.records import MetricValue
from infra.store.settings import Settings
from infra.suite.harness.metrics import (
    declared,
    first_metric,
    in_points,
    is_better_higher,
    is_corpus,
    known_unit,
)
from infra.suite.harness.scores import task_scores
from infra.suite.harness.suite import known_rows, prepare
from tests.infra.suite.harness.conftest import Heard, evaluation
from tests.infra.suite.harness.own_tasks import DEFINITION, NAME, own, write

MARKS = """\
def marks(doc, results):
    return {'house_score': 0.5}


def total(rows):
    return sum(rows)
"""
_ACC = "  - metric: acc\n    aggregation: mean\n    higher_is_better: true\n"


def definition(metric: str, more: str = "", units: str = "") -> str:
    text = DEFINITION.replace(_ACC, f"  - metric: {metric}\n{more}")
    text = text.replace("output_type:", "process_results: !function utils.marks\noutput_type:")
    return text + (f"  units: {units}\n" if units else "")


def loaded(folder: Path, settings: Settings, text: str) -> dict[str, Any]:
    write(folder, text, utils_py=MARKS)
    return prepare(own(folder), settings=settings, progress=Silent()).parts[NAME].loaded


MEAN = "    aggregation: mean\n    higher_is_better: true\n"


@pytest.mark.parametrize(("metric", "more", "units", "found"), [
    ("acc", MEAN, "", ("points", "mean")),
    ("brier_score", "    aggregation: mean\n    higher_is_better: false\n", "", ("value", "mean")),
    ("brier_score", "", "", ("value", "corpus")),
    ("f1", "", "", ("points", "corpus")),
    ("f1", MEAN, "", ("points", "mean")),
    ("acc", "    aggregation: !function utils.total\n", "", ("points", "corpus")),
    ("likelihood", MEAN, "", ("value", "mean")),
    ("likelihood", MEAN, "{likelihood: points}", ("points", "mean")),
    ("acc", MEAN, "{acc: value}", ("value", "mean")),
    ("bits_per_byte", "", "", ("bits", "corpus")),
])  # fmt: skip
def test_what_a_definition_declares(
    tmp_path: Path, settings: Settings, metric: str, more: str, units: str, found: tuple[str, str]
) -> None:
    there = loaded(tmp_path / "tasks", settings, definition(metric, more, units))
    assert first_metric(NAME, there) == metric
    assert declared(metric, NAME, there) == found


def test_a_group_is_what_its_parts_are(settings: Settings) -> None:
    exam = prepare(evaluation("global_mmlu_en", "gpqa_main_zeroshot"), settings=settings,
                   progress=Silent())  # fmt: skip
    assert declared("acc", "global_mmlu_en", exam.parts["global_mmlu_en"].loaded) == (
        "points", "mean"
    )  # fmt: skip
    assert first_metric("global_mmlu_en", exam.parts["global_mmlu_en"].loaded) == "acc"


@pytest.mark.parametrize("units", ["{acc: percent}", "points", "[points]"])
def test_a_unit_that_there_is_not_is_refused_before_anything_is_asked(
    tmp_path: Path, settings: Settings, units: str
) -> None:
    with pytest.raises(EvaluationError, match="declares units that there are not") as caught:
        loaded(tmp_path / "tasks", settings, definition("acc", MEAN, units))
    assert "one of points, nats, bits, value" in caught.value.remedy


@pytest.mark.parametrize(("more", "says"), [
    (MEAN, "metadata: {units: {likelihood: points}}"),
    ("    aggregation: !function utils.total\n    higher_is_better: true\n", "aggregation: mean"),
])  # fmt: skip
def test_what_no_margin_can_be_held_against_is_said_before_it_is_asked(
    tmp_path: Path, settings: Settings, more: str, says: str
) -> None:
    folder, heard = tmp_path / "tasks", Heard()
    write(folder, definition("likelihood", more), utils_py=MARKS)
    prepare(own(folder), settings=settings, progress=heard)
    (told,) = [said for said in heard.said if "no margin is held against it" in said]
    assert says in told
    assert known_rows(own(folder), settings, Silent()) == {}
    write(folder, definition("likelihood", MEAN, "{likelihood: points}"), utils_py=MARKS)
    prepare(own(folder), settings=settings, progress=heard)
    assert known_rows(own(folder), settings, Silent()) == {NAME: 6}


def test_scores_keep_what_is_declared(tmp_path: Path, settings: Settings) -> None:
    there = loaded(tmp_path / "tasks", settings, definition("acc", MEAN, "{wer: nats}"))
    results = {
        "results": {NAME: {"acc,none": 0.5, "wer,none": 0.2, "surprise,none": 3.0}},
        "higher_is_better": {NAME: {"acc": True}}, "n-shot": {NAME: 0}, "versions": {NAME: 1},
    }  # fmt: skip
    found = task_scores(NAME, results, there, [], dataset={}, conditions={}, samples="t.jsonl",
                        seconds=1.0).metrics  # fmt: skip
    told = {key: (one.unit, one.aggregation, one.higher_is_better) for key, one in found.items()}
    assert told == {
        "acc,none": ("points", "mean", True),
        "wer,none": ("nats", "mean", False),  # lm-eval would take more of it for better
        "surprise,none": ("value", "mean", True),
    }


@pytest.mark.parametrize(("metric", "task", "unit"), [
    ("exact_match,strict-match", "gsm8k", "points"),
    ("acc_norm,none", "", "points"),
    ("pass@1,create_test", "humaneval", "points"),
    ("pass@k", "humaneval", "value"),
    ("score,none", "longbench_trec", "points"),
    ("score,none", "realtoxicityprompts", "value"),
    ("brier_score,none", "", "value"),
    ("word_perplexity,none", "wikitext", "value"),
    ("bits_per_byte,none", "wikitext", "bits"),
    ("nll", "", "nats"),
    ("my_own", "mine", "value"),
])  # fmt: skip
def test_what_a_name_says(metric: str, task: str, unit: str) -> None:
    assert known_unit(metric, task) == unit


def test_scores_of_earlier_versions_have_the_unit_of_the_name() -> None:
    old = MetricValue(value=0.5, stderr=None, n=4)
    new = old.model_copy(update={"unit": "value", "aggregation": "corpus"})
    assert in_points("acc,none", "t", old, old)
    assert not in_points("acc,none", "t", old, new)
    assert not in_points("brier_score,none", "t", old)
    assert (is_corpus(old), is_corpus(old, new)) == (False, True)


@pytest.mark.parametrize(("metric", "told", "higher"), [
    ("ter,none", None, False), ("ter,none", True, True), ("acc", None, True), ("acc", False, False),
    ("mse", None, False), ("mine", None, True),
])  # fmt: skip
def test_direction(metric: str, told: bool | None, higher: bool) -> None:
    assert is_better_higher(metric, told) is higher
