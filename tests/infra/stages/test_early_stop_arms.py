"""Whole arms that may be stopped early, on an engine that answers at once."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.contracts.records import ArmResult, PythonEnvironment, Weights
from infra.contracts.specs import (
    CalibrationSpec,
    FidelitySpec,
    ModelSpec,
    QuantizationSpec,
    RunSpec,
    ServingSpec,
    SpeedSpec,
    TaskSpec,
    VerdictSpec,
)
from infra.judging import answered_rows as asked
from infra.models.weights import inspect_local
from infra.stages import arms
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tests.broken_checkpoints import SAMPLE
from tests.infra.suite.harness.conftest import DATA, Heard, evaluation

ENGINE = Path(__file__).parents[2] / "stand_in_engine.py"
ROWS = 80

Sit = Callable[..., ArmResult]


@pytest.fixture(scope="module")
def weights() -> Weights:
    return inspect_local(SAMPLE, settings=Settings())


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def sit(weights: Weights, tmp_path: Path, heard: Heard) -> Sit:
    """Return a function that lets one arm sit. Both models give the same answers, all right."""
    answers_known = tmp_path / "data"
    shutil.copytree(DATA, answers_known)
    questions = answers_known / "openai" / "gsm8k" / "main" / "test.jsonl"
    questions.write_text(re.sub(r"#### \d+", "#### 7", questions.read_text()))
    python = tmp_path / "python"
    engine = [sys.executable, str(ENGINE), "--fuse", str(tmp_path / "fuse")]
    python.write_text(f'#!/bin/sh\nexec {shlex.join(engine)} "$@"\n')
    python.chmod(0o755)

    def one(
        baseline: ArmResult | None = None, *, early_stop: bool = True, margin: float = 30
    ) -> ArmResult:
        spec = RunSpec(
            model=ModelSpec(source="local", id=str(SAMPLE)),
            quantization=QuantizationSpec(
                calibration=CalibrationSpec(path=str(SAMPLE.parent / "data" / "calibration.jsonl"))
            ),
            serving=ServingSpec(device="cpu"),
            evaluation=evaluation(
                TaskSpec(name="gsm8k", num_fewshot=0, limit=ROWS),
                data=answers_known, concurrency=1, triage={"enabled": False},
            ),
            fidelity=FidelitySpec(enabled=False),
            speed=SpeedSpec(enabled=False),
            verdict=VerdictSpec(
                margin_points=margin, task_margin_points=30, early_stop=early_stop
            ),
        )  # fmt: skip
        other = weights.model_copy(update={"digest": "of the candidate"})
        return arms.evaluate(
            "quantized" if baseline else "baseline", other if baseline else weights, spec,
            environment=PythonEnvironment(
                name="stand-in", python=python, digest="stand-in", provided=True
            ),
            run=RunFolder(id="run", path=tmp_path / "run"),
            settings=Settings(cache=tmp_path / "cache"), progress=heard, baseline=baseline,
        )  # fmt: skip

    return one


def rows(arm: ArmResult) -> int:
    return sum(task.n for task in arm.tasks.values())


def test_a_stopped_exam_is_kept_and_never_taken_for_a_whole_one(
    sit: Sit, tmp_path: Path, heard: Heard
) -> None:
    baseline = sit()
    stopped = sit(baseline)
    assert 0 < rows(stopped) < rows(baseline) == ROWS
    assert heard.said.count(
        f"PASS is certain after {rows(stopped):,} of {ROWS} rows; no more are asked"
    ) == 1  # fmt: skip
    log = (tmp_path / "run" / "logs" / "server-quantized.log").read_text()
    whole_log = (tmp_path / "run" / "logs" / "server-base.log").read_text()
    assert log.count("asked question") < whole_log.count("asked question")
    again = sit(baseline)
    assert all(task.reused for task in again.tasks.values())
    assert rows(again) == rows(stopped)

    whole = sit(baseline, early_stop=False)
    assert rows(whole) == ROWS
    assert not any(task.reused for task in whole.tasks.values())
    # Nor is a whole one a stopped one, or one that stopped at another margin.
    assert rows(sit(baseline)) == rows(stopped)
    other = sit(baseline, margin=29)
    assert not any(task.reused for task in other.tasks.values())
    # What both were asked is the same, to the letter.
    part = asked.asked_of(baseline, stopped, tmp_path / "run")
    for name, scores in part.tasks.items():
        assert scores.exam == stopped.tasks[name].exam
        assert scores.metrics == {
            key: value.model_copy(update={"stderr": scores.metrics[key].stderr})
            for key, value in stopped.tasks[name].metrics.items()
        }


def test_without_early_stop_a_base_arm_changes_nothing(sit: Sit, tmp_path: Path) -> None:
    baseline = sit(early_stop=False)
    sit(baseline, early_stop=False)
    kept = sorted(path.name for path in (tmp_path / "cache" / "scores").iterdir())
    assert sit(baseline, early_stop=False).tasks["gsm8k"].reused
    sit(early_stop=True)  # the baseline sits its whole exam all the same
    assert sorted(path.name for path in (tmp_path / "cache" / "scores").iterdir()) == kept
