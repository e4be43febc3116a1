"""What does each of several changes cost a model, and what does it buy?"""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from infra.contracts.specs import (
    ArmSpec,
    CalibrationSpec,
    CandidateSpec,
    EvaluationSpec,
    FidelitySpec,
    ResultsSpec,
    RunSpec,
    SpeedSpec,
    VerdictSpec,
)
from tasks.evaluation import evaluate


@flow(name="evaluate-candidates")
def evaluate_candidates(
    baseline: ArmSpec,
    candidates: list[CandidateSpec],
    evaluation: EvaluationSpec,
    verdict: VerdictSpec = VerdictSpec(),  # noqa: B008 -- frozen
    results: ResultsSpec = ResultsSpec(),  # noqa: B008 -- frozen
    speed: SpeedSpec = SpeedSpec(),  # noqa: B008 -- frozen
    fidelity: FidelitySpec = FidelitySpec(),  # noqa: B008 -- frozen
    conversations: CalibrationSpec | None = None,
    baseline_pack: str | None = None,
) -> Path:
    """Evaluate one baseline and any number of candidates, judge each, and rank them on one page.

    A candidate is a checkpoint that is made here, a ready-made one, or the same model served in
    another way. The baseline is evaluated once.

    Args:
        baseline: What every candidate is held against.
        candidates: What is changed, each time in another way.
        evaluation: Which lm-eval tasks all arms are evaluated on, and under which conditions.
        verdict: Which loss is acceptable, and which candidates have to pass.
        results: Where the report and the history go.
        speed: What is timed.
        fidelity: How closely a candidate is compared beyond right and wrong.
        conversations: Conversations to look at candidates with, where none is made from any.
        baseline_pack: File that `export-baseline` wrote: the baseline is taken from it.

    Returns:
        Path of the report, in the state that the verdict is: `Passed`, `Regressed` or
        `Inconclusive`.
    """
    spec = RunSpec(
        baseline=baseline,
        candidates=tuple(candidates),
        evaluation=evaluation,
        conversations=conversations,
        baseline_pack=baseline_pack,
        fidelity=fidelity,
        speed=speed,
        verdict=verdict,
        results=results,
    )
    return evaluate(spec.starting(flow_run.scheduled_start_time))
