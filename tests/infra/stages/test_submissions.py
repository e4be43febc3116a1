"""An arm that is asked rows without labels leaves a file to hand in; nothing is judged by it."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from infra.contracts.records import ArmResult
from infra.contracts.specs import TaskSpec
from infra.judging.comparison import compare, decisive
from infra.judging.pairing import RunRows
from infra.suite.rows import choice_likelihoods, read_rows
from tests.infra.stages.conftest import Evaluate

ROWS = [
    {"id": "a", "prompt": "What is 2 + 2?", "response_a": "4", "response_b": "5"},
    {"id": "b", "prompt": "Name a colour.", "response_a": "blue", "response_b": "seven"},
    {"id": "c", "prompt": None, "response_a": "yes", "response_b": "no"},
]


@pytest.fixture
def arm(evaluate: Evaluate, tmp_path: Path) -> ArmResult:
    file = tmp_path / "test.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    tasks = (TaskSpec(name="to-judge", file=str(file)), TaskSpec(name="gsm8k", limit=4))
    return evaluate("run", conditions={"tasks": tasks})


def test_each_row_of_the_file_is_a_line_with_both_orders_averaged(
    arm: ArmResult, tmp_path: Path
) -> None:
    scores, run = arm.tasks["to-judge"], tmp_path / "run"
    assert scores.submission is not None
    assert (scores.submission.rows, scores.submission.uniform) == (3, 1)
    assert (scores.n, scores.nothing_to_ask) == (6, 2)
    lines = list(csv.DictReader((run / scores.submission.path).read_text().splitlines()))
    assert [line["id"] for line in lines] == ["a", "b", "c"]
    asked = [row for row in read_rows(run / scores.samples, "to-judge") if row.doc["id"] == "a"]
    found = {}
    for row in asked:
        likelihoods = choice_likelihoods(row.filtered["none"])
        assert likelihoods is not None
        total = sum(map(math.exp, likelihoods))
        found[row.doc["order"]] = [math.exp(one) / total for one in likelihoods]
    first = (found["ab"][0] + found["ba"][1]) / 2
    assert float(lines[0]["winner_model_a"]) == pytest.approx(first, abs=1e-9)
    for line in lines:
        names = ("winner_model_a", "winner_model_b", "winner_tie")
        assert sum(float(line[name]) for name in names) == pytest.approx(1)
    assert float(lines[2]["winner_tie"]) == pytest.approx(1 / 3)
    assert arm.tasks["gsm8k"].submission is None


def test_rows_without_labels_decide_nothing(arm: ArmResult, tmp_path: Path) -> None:
    comparison = compare(arm, arm, RunRows(tmp_path / "run"))
    assert [metric.task for metric in decisive(comparison)] == ["gsm8k"]
    assert {metric.metric for metric in comparison.metrics if metric.task == "to-judge"} == {
        "entropy,none"
    }
