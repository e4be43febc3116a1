from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import ComparisonError
from infra.contracts.records import ArmResult, NoiseTask
from infra.judging import noise
from infra.judging.pairing import RunRows
from tests.infra.made_runs import GROUP, Row, make_run


@pytest.fixture
def baseline(tmp_path: Path) -> ArmResult:
    return make_run(tmp_path, rows=60).arms["baseline"]


def repeat(folder: Path, baseline: ArmResult, change: Callable[[str, int, Row], Any]) -> ArmResult:
    """The baseline again, with the same rows, some of them changed."""
    tasks = {}
    for name, scores in baseline.tasks.items():
        rows = [json.loads(line) for line in (folder / scores.samples).read_text().splitlines()]
        for place, row in enumerate(rows):
            change(name, place, row)
        samples = f"samples/baseline-repeat/{name}.jsonl"
        (folder / samples).parent.mkdir(exist_ok=True)
        (folder / samples).write_text("".join(json.dumps(row) + "\n" for row in rows))
        tasks[name] = scores.model_copy(update={"samples": samples})
    return baseline.model_copy(update={"tasks": tasks})


def nothing(name: str, place: int, row: Row) -> None:
    """Change nothing."""


def test_an_equal_repeat_has_no_noise(tmp_path: Path, baseline: ArmResult) -> None:
    found = noise.floor(baseline, repeat(tmp_path, baseline, nothing), RunRows(tmp_path))
    assert found.tasks == dict.fromkeys(
        ["gsm8k", GROUP, "gpqa_main_zeroshot"], NoiseTask(rows=60, changed=0, lost=0, gained=0)
    )


def test_flips_and_other_answers_are_counted(tmp_path: Path, baseline: ArmResult) -> None:
    def change(name: str, place: int, row: Row) -> None:
        if name != "gsm8k":
            return
        metric = baseline.tasks[name].primary_metric
        if place < 10:
            row["metrics"][metric] = 1.0 - row["metrics"][metric]
        if place < 15:
            row["filtered"] = dict.fromkeys(row["filtered"], "another answer")

    before = (tmp_path / baseline.tasks["gsm8k"].samples).read_text().splitlines()[:10]
    metric = baseline.tasks["gsm8k"].primary_metric
    right = sum(json.loads(line)["metrics"][metric] == 1.0 for line in before)
    assert 0 < right < 10
    found = noise.floor(baseline, repeat(tmp_path, baseline, change), RunRows(tmp_path))
    assert found.tasks["gsm8k"] == NoiseTask(rows=60, changed=15, lost=right, gained=10 - right)
    assert found.tasks[GROUP].changed == 0


def test_where_less_is_better_less_is_gained(tmp_path: Path, baseline: ArmResult) -> None:
    def turned(arm: ArmResult) -> ArmResult:
        tasks = {
            name: scores.model_copy(
                update={
                    "metrics": {
                        metric: value.model_copy(update={"higher_is_better": False})
                        for metric, value in scores.metrics.items()
                    }
                }
            )
            for name, scores in arm.tasks.items()
        }
        return arm.model_copy(update={"tasks": tasks})

    def change(name: str, place: int, row: Row) -> None:
        row["metrics"] = dict.fromkeys(row["metrics"], 0.0)

    second = repeat(tmp_path, baseline, change)
    plain = noise.floor(baseline, second, RunRows(tmp_path)).tasks[GROUP]
    other = noise.floor(turned(baseline), turned(second), RunRows(tmp_path)).tasks[GROUP]
    assert plain.lost > 0
    assert (other.lost, other.gained) == (plain.gained, plain.lost) == (0, plain.lost)


def test_a_repeat_of_another_model_or_of_other_tasks_is_refused(
    tmp_path: Path, baseline: ArmResult
) -> None:
    other = make_run(tmp_path / "other", rows=60).arms["quantized"]
    with pytest.raises(ComparisonError, match="different models"):
        noise.floor(baseline, other, RunRows(tmp_path))
    fewer = repeat(tmp_path, baseline, nothing)
    fewer = fewer.model_copy(update={"tasks": {"gsm8k": fewer.tasks["gsm8k"]}})
    with pytest.raises(ComparisonError, match="different tasks"):
        noise.floor(baseline, fewer, RunRows(tmp_path))
