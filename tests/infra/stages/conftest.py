from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.records import ArmResult, Checkpoint, PythonEnvironment
from infra.contracts.specs import (
    BASELINE,
    ArmSpec,
    CalibrationSpec,
    CandidateSpec,
    FidelitySpec,
    ModelSpec,
    RunSpec,
    ServingChanges,
    ServingSpec,
    SpeedSpec,
    TaskSpec,
)
from infra.models.weights import as_it_came, inspect_local
from infra.stages import arms
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tests.broken_checkpoints import SAMPLE
from tests.infra.suite.harness.conftest import Heard, evaluation

ENGINE = Path(__file__).parents[2] / "stand_in_engine.py"
SAMPLE_MODEL = ModelSpec(source="local", id=str(SAMPLE))
CACHE = CandidateSpec(
    name="fp8-cache", serving=ServingChanges(extra_args=("--kv-cache-dtype", "fp8"))
)
TASKS = (
    TaskSpec(name="gsm8k", num_fewshot=0, limit=12),
    TaskSpec(name="gpqa_main_zeroshot", limit=12),
)

CONVERSATIONS = CalibrationSpec(
    path=str(SAMPLE.parent / "data" / "calibration.jsonl"),
    max_samples=8,
    min_samples=4,
    max_sequence_length=256,
)
Evaluate = Callable[..., ArmResult]


class Overwriter(Heard):
    """Somebody who writes to a folder while questions are asked."""

    def __init__(self, source: Path, target: Path, during: str = "gsm8k") -> None:
        super().__init__()
        self._source, self._target, self.written = source, target, False
        self._during = during

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        super().update(what, done, total, unit)
        if what == self._during and unit and unit != "s" and not self.written:
            self.written = True
            self._target.write_bytes(self._source.read_bytes())


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return as_it_came(inspect_local(SAMPLE, settings=Settings()))


@pytest.fixture
def environment(tmp_path: Path) -> PythonEnvironment:
    """An engine that answers at once; see `tests/stand_in_engine.py`."""
    python = tmp_path / "python"
    engine = [sys.executable, str(ENGINE), "--fuse", str(tmp_path / "fuse")]
    python.write_text(f'#!/bin/sh\nexec {shlex.join(engine)} "$@"\n')
    python.chmod(0o755)
    return PythonEnvironment(name="stand-in", python=python, digest="stand-in", provided=True)


@pytest.fixture
def heard() -> Heard:
    return Heard()


def make_spec(
    *candidates: CandidateSpec,
    max_restarts: int = 2,
    top_k: int = 2,
    conditions: dict[str, Any] | None = None,
    **fields: Any,
) -> RunSpec:
    """Return a run on the sample model.

    Args:
        candidates: What is changed; by default the type of the engine's cache.
        max_restarts: Of the engine.
        top_k: Likely tokens that are kept of a text.
        conditions: Fields of the evaluation that differ from two small tasks without triage.
        fields: Of the run.
    """
    conditions = {"concurrency": 1, "triage": {"enabled": False}, **(conditions or {})}
    tasks = conditions.pop("tasks", TASKS)
    return RunSpec(
        baseline=ArmSpec(
            model=SAMPLE_MODEL, serving=ServingSpec(device="cpu", max_restarts=max_restarts)
        ),
        candidates=candidates or (CACHE,),
        evaluation=evaluation(*tasks, **conditions),
        **{
            "fidelity": FidelitySpec(documents=8, top_k=top_k),
            "speed": SpeedSpec(enabled=False),
            **fields,
        },
    )


@pytest.fixture
def evaluate(
    checkpoint: Checkpoint, environment: PythonEnvironment, tmp_path: Path, heard: Heard
) -> Evaluate:
    """Return a function that evaluates an arm; `run` names the run's folder."""

    def one(
        run: str,
        arm: str = BASELINE,
        *,
        spec: RunSpec | None = None,
        model: Checkpoint = checkpoint,
        heard: Heard = heard,
        settings: Settings | None = None,
        repeat: bool = False,
        baseline: ArmResult | None = None,
        **fields: Any,
    ) -> ArmResult:
        return arms.evaluate(
            arm, model, spec or make_spec(*fields.pop("candidates", ()), **fields),
            environment=environment, run=RunFolder(id=run, path=tmp_path / run),
            settings=settings or Settings(cache=tmp_path / "cache"), progress=heard,
            repeat=repeat, baseline=baseline,
        )  # fmt: skip

    return one


def write_template(folder: Path, template: str) -> None:
    """Give a model folder another chat template."""
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": template}))


def prompts_in(log: Path, kind: str = "question") -> list[str]:
    """Return the prompts that an engine got, by its log."""
    lines = log.read_text().splitlines()
    return [line for line in lines if line.startswith(f"prompt {kind} ")]
