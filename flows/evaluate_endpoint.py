"""What does an endpoint that somebody else runs score?"""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from infra.contracts.specs import EndpointRunSpec, EndpointSpec, EvaluationSpec, ResultsSpec
from tasks.ask_endpoint import ask_endpoint, measured
from tasks.check_endpoint import check_endpoint


@flow(name="evaluate-endpoint")
def evaluate_endpoint(
    endpoint: EndpointSpec,
    evaluation: EvaluationSpec,
    baseline: str | None = None,
    results: ResultsSpec = ResultsSpec(label="endpoint"),  # noqa: B008 -- frozen
) -> Path:
    """Evaluate a model behind a URL: find out what it can, ask it the tasks, report.

    Nothing is sent to it but a few dozen short requests to find out what it can, and the tasks'
    own prompts, all within `endpoint.budget`.

    Args:
        endpoint: The address, the model's name, and what may be spent.
        evaluation: Which lm-eval tasks it is evaluated on, and under which conditions.
        baseline: Folder of a finished run whose rows its own stand beside.
        results: Where the report goes.

    Returns:
        Path of the report.
    """
    spec = EndpointRunSpec(
        endpoint=endpoint, evaluation=evaluation, baseline=baseline, results=results
    ).starting(flow_run.scheduled_start_time)
    run, found, tokenizer = check_endpoint(spec)
    return measured(ask_endpoint(spec, run, found, tokenizer))
