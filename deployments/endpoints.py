"""Evaluations of endpoints from the command line: shown, looked at, carried out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial

from deployments import prefect_here
from deployments.overrides import override_endpoint
from deployments.recipes import SAMPLE, sample
from infra.contracts import exit_codes
from infra.contracts.errors import AssayError, NotPassed, PreflightError
from infra.contracts.progress import Progress, Silent
from infra.contracts.specs import (
    BudgetSpec,
    EndpointRunSpec,
    EndpointSpec,
    ModelSpec,
    ResultsSpec,
    TaskSpec,
)
from infra.store import store_format
from infra.store.settings import Settings
from tasks.prefect_api import surveyed_api


def endpoint() -> EndpointRunSpec:
    """The sample model behind a URL of this machine, where somebody else serves it."""
    tasks = (
        TaskSpec(name="gsm8k", num_fewshot=5, limit=60, max_gen_toks=160),
        TaskSpec(name="global_mmlu_en", limit=12),
    )
    return EndpointRunSpec(
        endpoint=EndpointSpec(
            url="http://127.0.0.1:8080/v1",
            model="sample",
            tokenizer=ModelSpec(source="local", id=f"{SAMPLE}/model"),
            budget=BudgetSpec(requests=2000, tokens=1_000_000),
        ),
        evaluation=sample().evaluation.model_copy(update={"tasks": tasks}),
        results=ResultsSpec(label="endpoint"),
    )


ENDPOINTS: dict[str, Callable[[], EndpointRunSpec]] = {"endpoint": endpoint}
"""Every evaluation of an endpoint by the name used on the command line."""


def carry_out(
    spec: EndpointRunSpec, command: str, changes: Sequence[str], progress: Progress
) -> int:
    """Do what a command line asks of an endpoint and return the exit code.

    Args:
        spec: The run.
        command: `show`, `preflight` or `run`.
        changes: Fields to replace; see `override`.
        progress: Hears what happens.

    Raises:
        NotPassed: The verdict is no PASS, and gates.
        SpecError: A change is none.
        PreflightError: Something is missing.
    """
    spec = override_endpoint(spec, changes)
    if command == "show":
        print(spec.model_dump_json(indent=2))
        return 0
    if command == "preflight":
        return _preflight(spec)
    return _run(spec, progress)


def _preflight(spec: EndpointRunSpec) -> int:
    from infra.preflight import problems, table
    from infra.preflight.endpoint import survey_endpoint

    findings = survey_endpoint(
        spec, settings=Settings(), progress=Silent(), configured=surveyed_api
    ).findings
    print(table(findings))
    return exit_codes.BAD_INPUT if problems(findings) else 0


def _run(spec: EndpointRunSpec, progress: Progress) -> int:
    from infra.preflight import refuse
    from infra.preflight.endpoint import survey_endpoint, survey_handed_over

    settings = Settings()
    store_format.begin(settings.cache)
    prefect_ready = prefect_here.begin(progress)
    survey = survey_endpoint(
        spec, settings=settings, progress=progress, configured=surveyed_api, fetch_rows=True
    )
    refuse(survey.findings)
    prefect_ready()
    from flows.evaluate_endpoint import evaluate_endpoint
    from tasks.outcomes import result_of

    flow = partial(
        evaluate_endpoint,
        endpoint=spec.endpoint,
        evaluation=spec.evaluation,
        baseline=spec.baseline,
        verdict=spec.verdict,
        results=spec.results,
    )
    try:
        with survey_handed_over(spec, settings, survey):
            page = result_of(flow)
    except NotPassed:
        raise
    except AssayError as error:
        if isinstance(error, PreflightError) and error.nothing_spent:
            raise
        print(f"assay: {error}", file=sys.stderr)
        return exit_codes.FAILED
    print(f"report: {page}")
    return 0
