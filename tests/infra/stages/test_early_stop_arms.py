"""Whole arms that may be stopped early, on an engine that answers at once."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from infra.contracts.records import ArmResult, Checkpoint
from infra.contracts.specs import (
    CandidateSpec,
    FidelitySpec,
    ModelSpec,
    ServingChanges,
    TaskSpec,
    VerdictSpec,
)
from infra.judging import answered_rows
from infra.store import stored_scores
from tests.broken_checkpoints import SAMPLE
from tests.infra.stages.conftest import Evaluate, make_spec
from tests.infra.suite.harness.conftest import DATA, Heard

ROWS = 80
OTHER_MODEL = ModelSpec(source="local", id=str(SAMPLE.with_name("model-awq")))
CANDIDATE = CandidateSpec(name="candidate", model=OTHER_MODEL)


@pytest.fixture
def one(evaluate: Evaluate, checkpoint: Checkpoint, tmp_path: Path) -> Evaluate:
    """Return a function that evaluates one arm. Both models give the same answers, all right."""
    data = tmp_path / "data"
    shutil.copytree(DATA, data)
    questions = data / "openai" / "gsm8k" / "main" / "test.jsonl"
    questions.write_text(re.sub(r"#### \d+", "#### 7", questions.read_text()))

    def one(
        baseline: ArmResult | None = None,
        *more: CandidateSpec,
        name: str = CANDIDATE.name,
        early_stop: bool = True,
        margin: float = 30,
    ) -> ArmResult:
        spec = make_spec(
            CANDIDATE, *more,
            conditions={
                "tasks": [TaskSpec(name="gsm8k", num_fewshot=0, limit=ROWS)], "data": data
            },
            fidelity=FidelitySpec(enabled=False),
            verdict=VerdictSpec(
                margin_points=margin, task_margin_points=30, early_stop=early_stop
            ),
        )  # fmt: skip
        other = checkpoint.model_copy(update={"digest": "of the candidate"})
        return evaluate(
            "run", name if baseline else "baseline", model=other if baseline else checkpoint,
            spec=spec, baseline=baseline,
        )  # fmt: skip

    return one


def rows(arm: ArmResult) -> int:
    return sum(task.n for task in arm.tasks.values())


def test_a_stopped_evaluation_is_kept_and_never_taken_for_a_whole_one(
    one: Evaluate, tmp_path: Path, heard: Heard
) -> None:
    baseline = one()
    stopped = one(baseline)
    assert 0 < rows(stopped) < rows(baseline) == ROWS
    assert heard.said.count(
        f"PASS is certain after {rows(stopped):,} of {ROWS} rows; no more are asked"
    ) == 1  # fmt: skip
    log = (tmp_path / "run" / "logs" / "server-candidate.log").read_text()
    whole_log = (tmp_path / "run" / "logs" / "server-baseline.log").read_text()
    assert log.count("prompt question") < whole_log.count("prompt question")
    again = one(baseline)
    assert all(task.reused for task in again.tasks.values())
    assert rows(again) == rows(stopped)

    whole = one(baseline, early_stop=False)
    assert rows(whole) == ROWS
    assert not any(task.reused for task in whole.tasks.values())
    # Nor is a whole one a stopped one, or one that stopped at another margin.
    assert rows(one(baseline)) == rows(stopped)
    other = one(baseline, margin=29)
    assert not any(task.reused for task in other.tasks.values())
    # The prompts of both are the same, to the letter.
    into = answered_rows.SAMPLES.format(CANDIDATE.name)
    part = answered_rows.answered_of(baseline, stopped, tmp_path / "run", into)
    for name, scores in part.tasks.items():
        assert scores.questions == stopped.tasks[name].questions
        assert scores.metrics == {
            key: value.model_copy(update={"stderr": scores.metrics[key].stderr})
            for key, value in stopped.tasks[name].metrics.items()
        }


@pytest.mark.parametrize("early_stop", [True, False])
def test_code_that_evaluates_arms_is_in_the_key_however_they_end(
    one: Evaluate, monkeypatch: pytest.MonkeyPatch, early_stop: bool
) -> None:
    baseline = one()
    one(baseline, early_stop=early_stop)
    again = one(baseline, early_stop=early_stop)
    assert all(task.reused for task in again.tasks.values())
    monkeypatch.setattr(stored_scores, "_CODE", stored_scores._CODE[:-1])
    other = one(baseline, early_stop=early_stop)
    assert not any(task.reused for task in other.tasks.values())


def test_without_early_stop_a_baseline_changes_nothing(one: Evaluate, tmp_path: Path) -> None:
    baseline = one(early_stop=False)
    one(baseline, early_stop=False)
    kept = sorted(path.name for path in (tmp_path / "cache" / "scores").iterdir())
    assert one(baseline, early_stop=False).tasks["gsm8k"].reused
    one(early_stop=True)  # the baseline answers everything all the same
    assert sorted(path.name for path in (tmp_path / "cache" / "scores").iterdir()) == kept


OTHER = CandidateSpec(name="other", serving=ServingChanges(dtype="float32"))


def test_one_of_several_candidates_is_stopped_by_a_stricter_test(one: Evaluate) -> None:
    baseline = one()
    alone = one(baseline, margin=10)
    beside = one(baseline, OTHER, margin=10)
    assert 0 < rows(alone) < rows(beside) == ROWS
    # Its answers alone are never taken for those as one of two.
    assert not any(task.reused for task in beside.tasks.values())


def test_each_of_several_candidates_has_its_own_rows_of_the_baseline(
    one: Evaluate, tmp_path: Path
) -> None:
    baseline, run = one(), tmp_path / "run"
    for name in ("candidate", "other"):
        arm = one(baseline, OTHER, name=name)
        assert 0 < rows(arm) < ROWS
        into = answered_rows.SAMPLES.format(name)
        part = answered_rows.answered_of(baseline, arm, run, into)
        assert part.tasks["gsm8k"].samples == f"samples/baseline-beside-{name}/gsm8k.jsonl"
        mine, theirs = (
            [json.loads(line)["doc_id"] for line in (run / samples).read_text().splitlines()]
            for samples in (arm.tasks["gsm8k"].samples, part.tasks["gsm8k"].samples)
        )
        assert mine == theirs
        assert len(mine) == rows(arm)
