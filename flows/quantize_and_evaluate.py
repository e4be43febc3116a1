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
from tasks.build_environment import build_environment
from tasks.check_prerequisites import check_prerequisites
from tasks.compare import compare
from tasks.evaluate_arm import evaluate_arm
from tasks.fetch_weights import fetch_weights
from tasks.outcomes import conclude
from tasks.publish import publish
from tasks.quantize import quantize


@flow(name="quantize-and-evaluate")
def quantize_and_evaluate(
    model: ModelSpec,
    quantization: QuantizationSpec,
    evaluation: EvaluationSpec,
    serving: ServingSpec = ServingSpec(),  # noqa: B008 -- frozen
    fidelity: FidelitySpec = FidelitySpec(),  # noqa: B008 -- frozen
    speed: SpeedSpec = SpeedSpec(),  # noqa: B008 -- frozen
    verdict: VerdictSpec = VerdictSpec(),  # noqa: B008 -- frozen
    results: ResultsSpec = ResultsSpec(),  # noqa: B008 -- frozen
) -> Path:
    """Quantize a model, let the original and the quantized one sit the same exam, compare them.

    Each parameter is one object, and a run that is given one gets it instead of the deployment's,
    as a whole: fields that it leaves out have their defaults, not the deployment's values. Without
    `evaluation.datasets`, say, rows come from Hugging Face.

    Args:
        model: Which model is examined, and where its weights come from.
        quantization: How it is quantized, on which conversations.
        evaluation: Which lm-eval tasks both arms sit, and under which conditions.
        serving: How vLLM serves both arms.
        fidelity: How closely the arms are compared beyond right and wrong.
        speed: What is timed.
        verdict: Which loss is acceptable, and whether a larger one fails the run.
        results: Where the report and the history go.

    Returns:
        Path of the report, in the state that the verdict is: `Passed`, `Regressed` or
        `Inconclusive`.
    """
    spec = RunSpec(
        model=model,
        quantization=quantization,
        evaluation=evaluation,
        serving=serving,
        fidelity=fidelity,
        speed=speed,
        verdict=verdict,
        results=results,
    ).starting(flow_run.scheduled_start_time)
    run = check_prerequisites(spec)

    server = build_environment.submit("server", serving, run)
    quantizer = build_environment.submit("quantizer", serving, run)
    weights = fetch_weights(model, run)
    checkpoint = quantize(weights, spec, quantizer.result(), run)

    base = evaluate_arm("base", weights, spec, server.result(), run)
    quantized = evaluate_arm("quantized", checkpoint, spec, server.result(), run, base=base)
    again = None
    if evaluation.noise_floor:
        again = evaluate_arm("base", weights, spec, server.result(), run, sitting=2)

    comparison = compare(base, quantized, again, spec, run)
    return conclude(publish(base, quantized, checkpoint, comparison, spec, run), verdict)
