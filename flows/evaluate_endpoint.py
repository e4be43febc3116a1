"""What does an endpoint that somebody else runs score, and does it keep up with a baseline?"""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from infra.contracts.specs import (
    EndpointRunSpec,
    EndpointSpec,
    EvaluationSpec,
    ResultsSpec,
    VerdictSpec,
)
from tasks.ask_endpoint import ask_endpoint
from tasks.check_endpoint import check_endpoint
from tasks.outcomes import conclude
from tasks.retrieve_passages import with_passages
from tasks.run_names import name_run


@flow(name="evaluate-endpoint")
def evaluate_endpoint(
    endpoint: EndpointSpec,
    evaluation: EvaluationSpec,
    baseline: str | None = None,
    verdict: VerdictSpec = VerdictSpec(),  # noqa: B008 -- frozen
    results: ResultsSpec = ResultsSpec(label="endpoint"),  # noqa: B008 -- frozen
) -> Path:
    """Evaluate a model behind a URL: find out what it can, ask it the tasks, report.

    Nothing is sent to it but a few dozen short requests to find out what it can, and the tasks'
    own prompts, all within `endpoint.budget`.

    Args:
        endpoint: The address, the model's name, and what may be spent.
        evaluation: Which lm-eval tasks it is evaluated on, and under which conditions.
        baseline: Folder of a finished run that it is held against. Empty: nothing is judged.
        verdict: Which loss against the baseline is acceptable.
        results: Where the report and the history go.

    Returns:
        Path of the report, in the state that the verdict is: `Passed`, `Regressed` or
        `Inconclusive`; or `Measured`, without a baseline.
    """
    spec = EndpointRunSpec(
        endpoint=endpoint,
        evaluation=evaluation,
        baseline=baseline,
        verdict=verdict,
        results=results,
    ).starting(flow_run.scheduled_start_time)
    name_run(spec)
    run, found, tokenizer = check_endpoint(spec)
    asked = with_passages(spec.evaluation, run)
    return conclude(ask_endpoint(spec, run, found, tokenizer, asked), spec.verdict)
