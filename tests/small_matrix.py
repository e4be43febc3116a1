"""A matrix of the sample model and a checkpoint of it, on an engine that answers at once."""

from __future__ import annotations

from pathlib import Path

from deployments.families import sample_family
from infra.contracts.specs import (
    CandidateSpec,
    MatrixModelSpec,
    MatrixSpec,
    ResultsSpec,
    ServingChanges,
    ServingSpec,
    SpeedSpec,
    TaskSpec,
)
from tests import stand_in_interpreter

ROWS = 12


def make(folder: Path, *, burnt: bool = False) -> MatrixSpec:
    """Return a matrix of two cells: a model with a candidate, and a checkpoint alone.

    Args:
        folder: Receives the interpreters and the runs.
        burnt: The engine of the candidate does not live.
    """
    whole = sample_family()
    python = stand_in_interpreter.write(folder)
    other = stand_in_interpreter.write(folder, "other", burnt=burnt)
    candidate = CandidateSpec(
        name="other", serving=ServingChanges(python=str(other), max_restarts=0)
    )
    sample, ready_made = whole.models
    tasks = (TaskSpec(name="gsm8k", num_fewshot=0, limit=ROWS, max_gen_toks=64),)
    return MatrixSpec(
        models=(
            MatrixModelSpec(name="sample", model=sample.model, candidates=(candidate,)),
            ready_made,
        ),
        serving=ServingSpec(device="cpu", python=str(python)),
        evaluation=whole.evaluation.model_copy(update={"tasks": tasks}),
        fidelity=whole.fidelity.model_copy(update={"documents": 4, "top_k": 2}),
        speed=SpeedSpec(enabled=False),
        verdict=whole.verdict.model_copy(update={"margin_points": 50, "task_margin_points": 50}),
        results=ResultsSpec(label="small", folder=str(folder / "runs")),
    )
