"""What did quantization cost this model, and what did it buy?"""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from infra.contracts.specs import (
    EvaluationSpec,
    FidelitySpec,
    ModelSpec,
    QuantizationSpec,
    ResultsSpec,
    RunSpec,
    ServingSpec,
    SpeedSpec,
    VerdictSpec,
)
from tasks.evaluation import evaluate


@flow(name="quantize-and-evaluate")
def quantize_and_evaluate(
    model: ModelSpec,
    quantization: QuantizationSpec,
    evaluation: EvaluationSpec,
    verdict: VerdictSpec = VerdictSpec(),  # noqa: B008 -- frozen
    results: ResultsSpec = ResultsSpec(),  # noqa: B008 -- frozen
    serving: ServingSpec = ServingSpec(),  # noqa: B008 -- frozen
    speed: SpeedSpec = SpeedSpec(),  # noqa: B008 -- frozen
    fidelity: FidelitySpec = FidelitySpec(),  # noqa: B008 -- frozen
) -> Path:
    """Quantize a model, ask the original and what came of it the same tasks, and compare them.

    Each parameter is one object, and a run that is given one gets it instead of the deployment's,
    as a whole: fields that it leaves out have their defaults, not the deployment's values. Without
    `evaluation.datasets`, say, rows come from Hugging Face.

    Args:
        model: Which model, and where its weights come from.
        quantization: How it is quantized, on which conversations.
        evaluation: Which lm-eval tasks both arms are evaluated on, and under which conditions.
        verdict: Which loss is acceptable, and whether a larger one fails the run.
        results: Where the report and the history go.
        serving: How the engine serves both arms.
        speed: What is timed.
        fidelity: How closely the arms are compared beyond right and wrong.

    Returns:
        Path of the report, in the state that the verdict is: `Passed`, `Regressed` or
        `Inconclusive`.
    """
    spec = RunSpec.short(
        model=model,
        quantization=quantization,
        evaluation=evaluation,
        serving=serving,
        fidelity=fidelity,
        speed=speed,
        verdict=verdict,
        results=results,
    )
    return evaluate(spec.starting(flow_run.scheduled_start_time))
