from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.contracts.records import ArmResult
from infra.conversations.calibration import load_tokenizer
from infra.judging.pairing import RunRows
from infra.probes.fidelity import lengths as module
from infra.probes.fidelity.lengths import lengths, per_right
from tests.broken_checkpoints import SAMPLE
from tests.infra.made_runs import make_run


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(SAMPLE)


def rewrite(folder: Path, arm: ArmResult, task: str, answers: list[Any], cut: int) -> None:
    """Let an arm's rows of a task hold these answers, the first of them cut off."""
    file = folder / arm.tasks[task].samples
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for place, row in enumerate(rows):
        row["responses"] = answers[place % len(answers)]
        row["truncated"] = place < cut
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_written_answers_are_counted_in_tokens(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_A_TIME", 7)
    arms = make_run(tmp_path, rows=40).arms
    baseline, candidate = arms["baseline"], arms["quantized"]
    short, long = "It is 7.", "It is 7. " * 20
    rewrite(tmp_path, baseline, "gsm8k", [[[short]]], 0)
    rewrite(tmp_path, candidate, "gsm8k", [[[short]], [[short]], [[short]], [[long]]], 6)
    found = lengths(baseline, candidate, RunRows(tmp_path).of, tokenizer)
    one, other = (len(tokenizer(text)["input_ids"]) for text in (short, long))
    assert one < other
    assert found.keys() == {"gsm8k"}  # all others choose
    assert found["gsm8k"]["baseline"].model_dump(exclude={"per_right"}) == {
        "answers": 40, "tokens_mean": one, "tokens_median": one, "endless": 0
    }  # fmt: skip
    right = baseline.tasks["gsm8k"].metrics[baseline.tasks["gsm8k"].primary_metric].value
    cost = found["gsm8k"]["baseline"].per_right
    assert cost is not None
    assert cost.tokens == pytest.approx(one / right)
    assert cost.high is not None
    assert cost.low < cost.tokens < cost.high
    there = found["gsm8k"]["candidate"]
    assert there.tokens_mean == pytest.approx((3 * one + other) / 4)
    assert (there.tokens_median, there.endless) == (one, 6)


def test_a_question_that_is_asked_again_is_drawn_whole(tmp_path: Path, tokenizer: Any) -> None:
    costs = []
    for times in (1, 5):
        folder = tmp_path / str(times)
        arms = make_run(folder, rows=20).arms
        file = folder / arms["baseline"].tasks["gsm8k"].samples
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        again = [{**row, "repeat": turn} for row in rows for turn in range(times)]
        file.write_text("".join(json.dumps(row) + "\n" for row in again))
        found = lengths(arms["baseline"], arms["quantized"], RunRows(folder).of, tokenizer)
        costs.append(found["gsm8k"]["baseline"].per_right)
    # The same answers once more show nothing.
    assert costs[0] == costs[1] is not None


def test_an_empty_answer_has_no_tokens(tmp_path: Path, tokenizer: Any) -> None:
    arms = make_run(tmp_path, rows=10).arms
    rewrite(tmp_path, arms["baseline"], "gsm8k", [[[""]]], 0)
    found = lengths(arms["baseline"], arms["quantized"], RunRows(tmp_path).of, tokenizer)
    assert (found["gsm8k"]["baseline"].answers, found["gsm8k"]["baseline"].tokens_mean) == (10, 0)


def test_a_right_answer_costs_what_all_answers_cost_over_those_that_are_right() -> None:
    assert per_right([10, 20], [0, 0]) is None
    found = per_right([10, 30], [1, 0])
    assert found is not None
    assert (found.tokens, found.low, found.high) == (40, 10, None)  # one in four draws has none
    always = per_right([10, 30], [1, 1])
    assert always is not None
    assert (always.tokens, always.low, always.high) == (20, 10, 30)


def test_the_interval_covers_the_cost_of_a_right_answer_as_often_as_it_says() -> None:
    draw = np.random.default_rng(11)
    covered = 0
    for _ in range(60):
        marks = draw.uniform(size=150) < 0.6
        costs = np.where(marks, 80, 120) + draw.integers(-20, 21, 150)
        found = per_right([*map(int, costs)], [*map(float, marks)])
        assert found is not None
        assert found.high is not None
        covered += found.low <= (0.6 * 80 + 0.4 * 120) / 0.6 <= found.high
    assert 52 <= covered <= 60  # 95 % of 60 are 57
