"""Unit, direction and making of a metric are declared by its definition, whatever values come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import EvaluationError
from infra.contracts.progress import Silent
from infra.store.settings import Settings
from infra.suite.harness.metrics import declared, metric_names
from infra.suite.harness.remembered import remembered
from infra.suite.harness.running.scores import task_scores
from infra.suite.harness.suite import prepare
from infra.suite.metrics import Metric
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


def rows_marked(folder: Path, settings: Settings) -> dict[str, int]:
    facts = remembered(own(folder), settings, Silent())
    assert facts is not None
    return facts.rows


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
    assert metric_names(NAME, there) == [metric]
    one = declared(metric, NAME, there)
    assert (one.unit, one.aggregation) == found


def test_a_group_is_what_its_parts_are(settings: Settings) -> None:
    suite = prepare(evaluation("global_mmlu_en", "gpqa_main_zeroshot"), settings=settings,
                   progress=Silent())  # fmt: skip
    assert suite.metrics("global_mmlu_en") == {"acc": Metric("points", "mean", True)}


@pytest.mark.parametrize("units", ["{acc: percent}", "points", "[points]"])
def test_a_unit_that_there_is_not_is_refused_before_anything_is_sent(
    tmp_path: Path, settings: Settings, units: str
) -> None:
    with pytest.raises(EvaluationError, match="declares units that there are not") as caught:
        loaded(tmp_path / "tasks", settings, definition("acc", MEAN, units))
    assert "one of points, nats, bits, value" in caught.value.remedy


@pytest.mark.parametrize(("more", "says"), [
    (MEAN, "metadata: {units: {likelihood: points}}"),
    ("    aggregation: !function utils.total\n    higher_is_better: true\n", "aggregation: mean"),
])  # fmt: skip
def test_what_no_margin_can_be_held_against_is_said_before_it_runs(
    tmp_path: Path, settings: Settings, more: str, says: str
) -> None:
    folder, heard = tmp_path / "tasks", Heard()
    write(folder, definition("likelihood", more), utils_py=MARKS)
    prepare(own(folder), settings=settings, progress=heard)
    (note,) = [said for said in heard.said if "no margin is held against it" in said]
    assert says in note
    assert rows_marked(folder, settings) == {}
    write(folder, definition("likelihood", MEAN, "{likelihood: points}"), utils_py=MARKS)
    prepare(own(folder), settings=settings, progress=heard)
    assert rows_marked(folder, settings) == {NAME: 6}


def test_scores_keep_what_is_declared(tmp_path: Path, settings: Settings) -> None:
    there = loaded(tmp_path / "tasks", settings, definition("acc", MEAN, "{wer: nats}"))
    results = {
        "results": {NAME: {"acc,none": 0.5, "wer,none": 0.2, "surprise,none": 3.0}},
        "higher_is_better": {NAME: {"acc": True}}, "n-shot": {NAME: 0}, "versions": {NAME: 1},
    }  # fmt: skip
    found = task_scores(NAME, results, there, [], dataset={}, conditions={}, samples="t.jsonl",
                        seconds=1.0).metrics  # fmt: skip
    kept = {key: (it.unit, it.aggregation, it.higher_is_better) for key, it in found.items()}
    assert kept == {
        "acc,none": ("points", "mean", True),
        "wer,none": ("nats", "mean", False),  # lm-eval would take more of it for better
        "surprise,none": ("value", "mean", True),
    }
