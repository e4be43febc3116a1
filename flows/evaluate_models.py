"""What do many models score, and what does each change cost them?"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from prefect import flow

from infra.contracts.specs import (
    CalibrationSpec,
    CandidateSpec,
    EvaluationSpec,
    FidelitySpec,
    MatrixModelSpec,
    MatrixSpec,
    ResultsSpec,
    ServingSpec,
    SpeedSpec,
    VerdictSpec,
)
from tasks.matrix import evaluate


@flow(name="evaluate-models")
def evaluate_models(
    models: list[MatrixModelSpec],
    evaluation: EvaluationSpec,
    candidates: list[CandidateSpec] | None = None,
    verdict: VerdictSpec = VerdictSpec(),  # noqa: B008 -- frozen
    results: ResultsSpec = ResultsSpec(),  # noqa: B008 -- frozen
    serving: ServingSpec = ServingSpec(),  # noqa: B008 -- frozen
    speed: SpeedSpec = SpeedSpec(),  # noqa: B008 -- frozen
    fidelity: FidelitySpec = FidelitySpec(),  # noqa: B008 -- frozen
    conversations: CalibrationSpec | None = None,
    where: Literal["auto", "here", "workers"] = "auto",
) -> Path:
    """Evaluate many models, each alone or with candidates beside it, and put them in one table.

    Each cell is a run of its own, with a report of its own; one that fails costs the others
    nothing. Started again, it does only what is missing.

    Args:
        models: The models, and candidates that are theirs alone.
        evaluation: Which lm-eval tasks all of them are evaluated on, and under which conditions.
        candidates: Candidates of every model.
        verdict: Which loss is acceptable.
        results: Where the reports, the table and the history go.
        serving: How all of them are served.
        speed: What is timed.
        fidelity: How closely a candidate is compared beyond right and wrong.
        conversations: Conversations to look at candidates with, where none is made from any.
        where: Whether workers carry out the cells, side by side, or this process, one after the
            other. `auto` takes workers where the deployment `candidates` is registered.

    Returns:
        Path of the table's page.
    """
    spec = MatrixSpec(
        models=tuple(models),
        candidates=tuple(candidates or ()),
        serving=serving,
        conversations=conversations,
        evaluation=evaluation,
        fidelity=fidelity,
        speed=speed,
        verdict=verdict,
        results=results,
    )
    return evaluate(spec, where)
