"""What the evaluation of an endpoint needs: the endpoint found out, the tasks, the budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from infra.contracts.errors import (
    AssayError,
    BudgetSpent,
    ComparisonError,
    EndpointError,
    EvaluationError,
)
from infra.contracts.progress import Progress, Silent
from infra.contracts.records.endpoint import Estimate, Found, Outlook
from infra.contracts.specs.endpoint_run import EndpointRunSpec
from infra.engines.remote.asking import Asker
from infra.engines.remote.budget import Budget
from infra.engines.remote.endpoint import RemoteEndpoint
from infra.engines.remote.finding import find_out
from infra.engines.remote.ways import Tokenizing
from infra.judging.endpoint import (
    earlier_run,
    require_alike,
    require_same_rows,
    require_tasks,
)
from infra.models import tokenizer as tokenizers
from infra.models.tokenizer_alone import fetch_tokenizer
from infra.models.tokenizer_identity import tokenizer_digest
from infra.preflight import embedding, margins, passages, plan, prefect_api, suite
from infra.preflight.findings import Finding, look, note, ok, problem, problems
from infra.preflight.handover import VALID_SECONDS
from infra.preflight.outlook import outlook_of
from infra.preflight.prefect_api import PrefectApi
from infra.report import receipt
from infra.scoring.frame import encoder, frame
from infra.store.settings import Settings
from infra.suite import kind_of
from infra.suite.port import Suite

_ENDPOINT, _CAN, _TASK = "endpoint", "endpoint can", "task"
_COST, _BASELINE = "cost", "baseline"
_THREADS = 8


@dataclass
class Survey:
    """What was found."""

    findings: list[Finding] = field(default_factory=list)
    found: Found | None = None
    """None if the endpoint cannot be asked."""

    tokenizer: Path | None = None
    """Folder; none where the spec names none."""

    estimates: dict[str, Estimate] = field(default_factory=dict)
    """Task → what it takes at most; empty where tasks are not loaded yet."""


def survey_endpoint(
    spec: EndpointRunSpec,
    *,
    settings: Settings,
    progress: Progress,
    configured: Callable[[], PrefectApi | None],
    fetch_rows: bool = False,
    in_flow: bool = False,
) -> Survey:
    """Look at everything the evaluation of an endpoint needs, and say what was found.

    Asking the endpoint what it can costs a few dozen short requests, which the budget holds.

    Args:
        spec: The run.
        settings: Where things are kept.
        progress: Hears about what takes long.
        configured: Returns the Prefect API that records the run; none where it brings one along.
        fetch_rows: If nothing is missing, also load tasks whose rows are on a hub.
        in_flow: Prefect carries the run out, so its API was reached: a slow answer refuses nobody.
    """
    whole = Survey()
    say = whole.findings
    with ThreadPoolExecutor(_THREADS) as pool:
        tasks = suite.read(spec.evaluation, settings, progress)
        requests = suite.ask_for_rows(tasks, settings, pool)
        say.append(prefect_api.looking(configured, in_flow=in_flow)())
        say += _tokenizer(spec, whole, settings, progress)
        if not problems(say):
            say += _found_out(spec, whole, progress)
        say += tasks.findings
        if whole.found is not None:
            whole.found = whole.found.model_copy(
                update={"outlook": tuple(_outlook(spec, whole, tasks))}
            )
            say += [_line(one) for one in whole.found.outlook]
            say += _unheeded(spec, whole.found)
        say += embedding.of_endpoint_run(spec.evaluation, tasks.lines, progress)
        say += passages.look_at(spec.evaluation, tasks.lines)
        looked, missing = suite.rows(requests, spec.evaluation)
        say += looked
    if spec.baseline is not None:
        say.append(look(_BASELINE, partial(_baseline, spec, spec.baseline)))
    may_fetch = fetch_rows and not problems(say)
    loaded = suite.load(tasks, missing, spec.evaluation, settings, progress, whole=may_fetch)
    say += loaded.findings
    if whole.found is not None and loaded.whole and not problems(say):
        say += _prompts(spec, whole, settings, progress)
        say += _cost(spec, whole, settings, progress)
    if spec.baseline is not None:
        say += _outcome(spec, loaded, settings, progress)
    return whole


def _outcome(
    spec: EndpointRunSpec, loaded: suite.Loaded, settings: Settings, progress: Progress
) -> list[Finding]:
    """Look at what the rows could show against the baseline."""
    if loaded.whole:
        found = margins.look_at(spec, settings, progress)
        return found + plan.look_at(spec, settings, progress)
    return [plan.later(spec.judged_verdict, loaded.waiting)] if loaded.waiting else []


def suite_of(spec: EndpointRunSpec, settings: Settings, progress: Progress) -> Suite:
    """Return the tasks, loaded."""
    return kind_of(spec.evaluation).prepare(spec.evaluation, settings=settings, progress=progress)


def rehearse(
    spec: EndpointRunSpec,
    endpoint: RemoteEndpoint,
    tokenizer: Path | None,
    tasks: Suite,
    name: str,
) -> Estimate:
    """Return what a task takes at most: it is put as it will be, and nothing is sent.

    Raises:
        ComparisonError: Its rows are not those of the baseline.
        EvaluationError: A prompt does not fit the window.
    """
    silent = endpoint.rehearsed()
    assert silent.rehearsal is not None  # noqa: S101 -- it was just made
    with TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        try:
            scores = tasks.ask(
                name, silent, tokenizer, rows, Silent(), trust_remote_code=_trusted(spec)
            )
        except EvaluationError as error:
            # Answers that say nothing may be none to whatever marks them; all was put by then.
            if "prompt" in error.fact or not silent.rehearsal.estimate.requests:
                raise
        else:
            if spec.baseline is not None:
                earlier = Path(spec.baseline).expanduser()
                digest = tokenizer_digest(tokenizer) if tokenizer else ""
                scores = scores.model_copy(update={"tokenizer": digest})
                require_same_rows(earlier_run(earlier).tasks[name], scores, earlier, rows)
    return silent.rehearsal.estimate


def _trusted(spec: EndpointRunSpec) -> bool:
    return spec.endpoint.tokenizer is not None and spec.endpoint.tokenizer.trust_remote_code


def _baseline(spec: EndpointRunSpec, given: str) -> str:
    folder = Path(given).expanduser()
    earlier = earlier_run(folder)
    receipt.require_as_sealed(folder)
    require_alike(earlier, spec.evaluation)
    return f"{earlier.what}, of run {earlier.run_id}; its rows are as they were sealed"


def _tokenizer(
    spec: EndpointRunSpec, whole: Survey, settings: Settings, progress: Progress
) -> Iterator[Finding]:
    wanted = spec.endpoint.tokenizer
    if wanted is None:
        yield note(
            "tokenizer",
            "endpoint.tokenizer is empty: prompts are sent as text, and no task is scored by "
            "log-probabilities",
        )
        return
    try:
        whole.tokenizer = fetch_tokenizer(wanted, settings=settings, progress=progress)
        yield ok("tokenizer", str(whole.tokenizer))
    except AssayError as error:
        yield problem("tokenizer", error)


def tokenizing(spec: EndpointRunSpec, folder: Path) -> Tokenizing:
    """Return how texts become tokens of the endpoint's model."""
    loaded = tokenizers.load(folder, trust_remote_code=_trusted(spec))
    bare = encoder(loaded)
    framed = frame(loaded, spec.evaluation.add_bos_token)
    return Tokenizing(
        prompt=lambda text: framed.encode([text], bare)[0], bare=lambda text: bare([text])[0]
    )


def _found_out(spec: EndpointRunSpec, whole: Survey, progress: Progress) -> Iterator[Finding]:
    try:
        tokens = tokenizing(spec, whole.tokenizer) if whole.tokenizer else None
        asker = Asker(spec.endpoint, Budget(spec.endpoint), progress.say)
    except AssayError as error:
        yield problem(_ENDPOINT, error)
        return
    try:
        findings = find_out(asker, tokens, say=progress.say)
    finally:
        asker.close()
    whole.found = findings.found
    if findings.found is not None:
        for one in findings.found.abilities:
            status = "found" if one.found else "not found"
            yield (ok if one.found else note)(_CAN, f"{one.name}: {status}; {one.why}")
        yield note(
            _ENDPOINT,
            "whose weights, engine and settings these are is your word: "
            + (f"version {spec.endpoint.version}" if spec.endpoint.version else "no version")
            + (
                ""
                if spec.endpoint.version
                else ". Without endpoint.version no answer is taken from another run"
            )
            + (
                f". Of itself it says {len(findings.found.says)} things ("
                f"{', '.join(findings.found.says)}): answers are kept under these too"
                if findings.found.says
                else ". Of itself it says nothing"
            ),
        )
    for one_problem in findings.problems:
        yield problem(_ENDPOINT, one_problem)


def _outlook(spec: EndpointRunSpec, whole: Survey, tasks: suite.Tasks) -> Iterator[Outlook]:
    assert whole.found is not None  # noqa: S101 -- the caller looked
    for line in tasks.lines:
        yield outlook_of(line, whole.found, spec)


def _line(one: Outlook) -> Finding:
    said = f"{one.task}: {one.grade}; {one.why}"
    if one.grade != "not possible":
        return (ok if one.grade == "exact" else note)(_TASK, said)
    return problem(
        _TASK,
        EndpointError(
            f"{one.task} is not possible on this endpoint.",
            cause=f"{one.why}.",
            remedy=f"Leave {one.task} out of evaluation.tasks, or use an endpoint that can.",
        ),
    )


def _unheeded(spec: EndpointRunSpec, found: Found) -> Iterator[Finding]:
    """Find settings that cannot act where prompts travel as text."""
    if found.prompts == "tokens":
        return
    given = {
        "add_bos_token": spec.evaluation.add_bos_token is not None,
        "chat_template_kwargs": bool(spec.evaluation.chat_template_kwargs),
    }
    for name in (name for name, there in given.items() if there):
        yield problem(
            _TASK,
            EndpointError(
                f"evaluation.{name} would change nothing.",
                cause="Prompts travel as text; the endpoint's own tokenizer and template decide.",
                remedy=f"Leave evaluation.{name} out, or name endpoint.tokenizer for an endpoint "
                "that takes token ids.",
            ),
        )


def _prompts(
    spec: EndpointRunSpec, whole: Survey, settings: Settings, progress: Progress
) -> list[Finding]:
    if whole.found is None or whole.tokenizer is None or whole.found.prompts != "tokens":
        return []
    return suite.look_at_prompts(
        spec.evaluation, whole.tokenizer, whole.found.window, _trusted(spec), None, settings,
        progress,
    )  # fmt: skip


def _cost(
    spec: EndpointRunSpec, whole: Survey, settings: Settings, progress: Progress
) -> Iterator[Finding]:
    """Count what all tasks take at most, and hold it against the budget."""
    assert whole.found is not None  # noqa: S101 -- the caller looked
    budget = Budget(spec.endpoint, whole.found.spent)
    try:
        endpoint = RemoteEndpoint.of(spec.endpoint, whole.found, budget)
        tasks = suite_of(spec, settings, progress)
        if spec.baseline is not None:
            require_tasks(earlier_run(Path(spec.baseline).expanduser()), tasks.names)
        for name in tasks.names:
            whole.estimates[name] = rehearse(spec, endpoint, whole.tokenizer, tasks, name)
    except ComparisonError as error:
        yield problem(_BASELINE, error)
        return
    except AssayError as error:
        yield problem(_COST, error)
        return
    yield from _held_against(spec, whole, budget)


def _held_against(spec: EndpointRunSpec, whole: Survey, budget: Budget) -> Iterator[Finding]:
    estimates = list(whole.estimates.values())
    requests = sum(one.requests for one in estimates)
    prompt = sum(one.prompt_tokens for one in estimates)
    answer = sum(one.answer_tokens for one in estimates)
    before = budget.spent
    counted = "counted" if all(one.counted for one in estimates) else "guessed by length"
    money = budget.price(prompt, answer) + before.money
    priced = spec.endpoint.prompt_price or spec.endpoint.answer_price
    yield ok(
        _COST,
        f"at most {requests:,} requests, {prompt:,} tokens of prompts ({counted}), {answer:,} of "
        "answers if each runs into its limit"
        + (f", {money:.2f} in the currency of the prices" if priced else "")
        + f"; {before.requests:,} requests and {before.prompt_tokens + before.answer_tokens:,} "
        "tokens were taken to find out what it can",
    )
    limits = spec.endpoint.budget
    for name, wanted, limit in (
        ("requests", requests + before.requests, limits.requests),
        (
            "tokens",
            prompt + answer + before.prompt_tokens + before.answer_tokens,
            limits.tokens,
        ),
        ("money", money, limits.money),
    ):
        if limit is not None and wanted > limit:
            yield problem(
                _COST,
                BudgetSpent(
                    f"The tasks may take {wanted:,.6g} {name}, and endpoint.budget.{name} is "
                    f"{limit:,.6g}.",
                    cause="All answers are counted at their longest. What answers kept under "
                    "endpoint.version would spare is not taken off.",
                    remedy=f"Raise endpoint.budget.{name}, or lower the limit or max_gen_toks of "
                    "the tasks.",
                ),
            )


# What the command line found is not asked for again by the flow that it starts: that would be paid
# for twice. See `infra.preflight.handover`.
_surveyed: ContextVar[tuple[EndpointRunSpec, Settings, Survey, float] | None] = ContextVar(
    "surveyed", default=None
)


@contextmanager
def survey_handed_over(spec: EndpointRunSpec, settings: Settings, survey: Survey) -> Iterator[None]:
    """Hand a survey to what is called in the block, and to nobody else."""
    token = _surveyed.set((spec, settings, survey, time.monotonic()))
    try:
        yield
    finally:
        _surveyed.reset(token)


def surveyed_before(spec: EndpointRunSpec, settings: Settings) -> Survey | None:
    """Return the survey that was handed over of the same spec; none if it is old, or none was."""
    given = _surveyed.get()
    if given is None or time.monotonic() - given[3] > VALID_SECONDS:
        return None
    return given[2] if given[:2] == (spec, settings) else None


__all__: Sequence[str] = (
    "Survey", "rehearse", "suite_of", "survey_endpoint", "survey_handed_over",
    "surveyed_before", "tokenizing",
)  # fmt: skip
