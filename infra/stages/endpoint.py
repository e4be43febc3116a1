"""An endpoint that somebody else runs: ask it the tasks, keep every finished one, report.

It is evaluated as it is: no lease, no watchdog, no restart, and its identity is the user's word.
"""

from __future__ import annotations

import shutil
import time
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path

from infra.contracts.errors import EvaluationError
from infra.contracts.progress import Progress
from infra.contracts.records import TaskScores
from infra.contracts.records.endpoint import (
    EarlierRun,
    EndpointJudgement,
    EndpointReport,
    Found,
)
from infra.contracts.specs import BASELINE, EmbeddingSpec, EvaluationSpec
from infra.contracts.specs.endpoint_run import EndpointRunSpec
from infra.engines.embeddings import Embedder, embedder_of, identity_of
from infra.engines.remote.budget import Budget
from infra.engines.remote.endpoint import RemoteEndpoint
from infra.judging.endpoint import (
    ENDPOINT,
    compared,
    earlier_run,
    intervals,
    judged,
    require_tasks,
)
from infra.judging.power import planned
from infra.models.template_clock import NO_CLOCK, Today, today_of
from infra.models.tokenizer_identity import tokenizer_digest
from infra.report import receipt
from infra.stages.submissions import submitted
from infra.store.content import build_once, code_digest, digest_of
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from infra.store.stored_scores import Stored, placed
from infra.suite import kind_of, tasks_with_functions
from infra.suite.passages.pending import require_retrieved
from infra.suite.port import AnswerFile, Suite

_CODE = ("stages/endpoint.py", "store/stored_scores.py")
"""Code that decides what is kept of an endpoint's answers."""

_ASKING = (
    *("scoring", "engines/forced.py", "engines/proof.py", "engines/remote"),
    *("engines/connection.py", "contracts/capability.py"),
)
"""Code that asks, and reads what is answered."""


def evaluate(
    spec: EndpointRunSpec,
    found: Found,
    tokenizer: Path | None,
    *,
    run: RunFolder,
    created: datetime,
    settings: Settings,
    progress: Progress,
    asked: EvaluationSpec | None = None,
) -> EndpointReport:
    """Return what an endpoint scored on every task, and the verdict if there is a baseline.

    Args:
        spec: The run.
        found: What it can.
        tokenizer: Folder of its model's tokenizer; none if prompts travel as text.
        run: Receives rows, and holds the plan.
        created: When the run was.
        settings: Where finished tasks and answers are kept.
        progress: Hears what happens.
        asked: The tasks with what was retrieved for them; none if they are those of the run.

    Raises:
        ComparisonError: The baseline was asked otherwise.
        ReceiptError: The baseline's run was changed.
        EndpointError: It is not what it was when it was looked at, or the budget is spent.
        EvaluationError: It cannot be asked, or the harness failed.
    """
    started = time.monotonic()
    evaluation = asked or spec.evaluation
    require_retrieved(evaluation)
    kind = kind_of(evaluation)
    keys = kind.keys(evaluation, settings=settings)
    suite = kind.prepare(evaluation, settings=settings, progress=progress, keys=keys)
    budget = Budget(spec.endpoint, found.spent)
    endpoint = RemoteEndpoint.of(spec.endpoint, found, budget)
    today = _today(evaluation, found, tokenizer, run, settings, progress)
    identity = _identity(spec, found, tokenizer, run, today)
    answers = AnswerFile(settings.answers / f"{identity[:32]}.sqlite", identity)
    code = code_digest(*_CODE)
    embedded = kind.embedded(evaluation, settings=settings)
    tasks: dict[str, TaskScores] = {}
    for name, key in keys.items():
        # Where nobody knows whether the rows are still the same, nothing is taken from another run.
        whose = key or digest_of(["of one run", run.id, name])
        embeds = spec.evaluation.embedding if name in embedded else None
        by = [identity_of(embeds, None, run.id)] if embeds else []
        stored = Stored(settings.scores / digest_of([whose, identity, *by, code])[:32])
        reused = stored.present
        if not reused:
            progress.say(f"asking {name}")
            with _embedder(embeds, run, settings, progress) as vectors:
                ask = partial(
                    _ask, name, spec, suite, endpoint, tokenizer, answers, progress, today
                )
                build_once(
                    stored.folder,
                    partial(ask, vectors),
                    on_wait=lambda: progress.say("another run is at the same; waiting for it"),
                )
        tasks[name] = submitted(stored.bring(ENDPOINT, run, reused=reused), ENDPOINT, run)
    return EndpointReport(
        run_id=run.id,
        created=created,
        spec=spec,
        found=found,
        tasks=tasks,
        intervals=dict(intervals(tasks, run.path)),
        spent=budget.spent,
        seconds=round(time.monotonic() - started, 2),
        judged=_judged(spec, tasks, run) if spec.baseline is not None else None,
    )


def _embedder(
    spec: EmbeddingSpec | None, run: RunFolder, settings: Settings, progress: Progress
) -> AbstractContextManager[Embedder | None]:
    if spec is None:
        return nullcontext()
    return embedder_of(spec, None, name=ENDPOINT, run=run, settings=settings, progress=progress)


def _ask(
    name: str,
    spec: EndpointRunSpec,
    suite: Suite,
    endpoint: RemoteEndpoint,
    tokenizer: Path | None,
    answers: AnswerFile,
    progress: Progress,
    today: Today,
    embedder: Embedder | None,
    folder: Path,
) -> None:
    """Ask one task whole; a task of which a part was answered leaves no score."""
    trusted = spec.endpoint.tokenizer is not None and spec.endpoint.tokenizer.trust_remote_code
    scores = suite.ask(
        name, endpoint, tokenizer, folder / Stored.SAMPLES, progress, answers,
        trust_remote_code=trusted, embedder=embedder,
    )  # fmt: skip
    if today.is_over:
        raise EvaluationError(
            f"The day changed before {name} was answered.",
            cause="The endpoint renders chats itself, and the model's template writes the date.",
            remedy="Start the run again: nothing is kept of this task.",
            may_heal=True,
        )
    digest = tokenizer_digest(tokenizer) if tokenizer else ""
    Stored(folder).keep_scores(scores.model_copy(update={"tokenizer": digest}))


def _today(
    evaluation: EvaluationSpec,
    found: Found,
    tokenizer: Path | None,
    run: RunFolder,
    settings: Settings,
    progress: Progress,
) -> Today:
    """Return what the endpoint's clock makes of chats that it renders, as far as that is known."""
    chats = found.prompts == "chat" or tasks_with_functions(evaluation, settings, progress)
    if tokenizer is None or not chats:
        return NO_CLOCK
    return today_of(tokenizer, evaluation.chat_template_kwargs, run.id)


def _identity(
    spec: EndpointRunSpec, found: Found, tokenizer: Path | None, run: RunFolder, today: Today
) -> str:
    """Return the key of its answers: the user's word and its own, or this run where there is none.

    What it says of itself does not say enough to do without the user's word.
    """
    return digest_of(
        {
            "endpoint": found.url,
            "model": found.model,
            "answers as": found.answers_as,
            "version": spec.endpoint.version,
            "says": found.says,
            "day": today.stays,
            "run": None if spec.endpoint.version else run.id,
            "prompts": found.prompts,
            "chat": spec.evaluation.chat_template,
            "scoring": found.scoring,
            "window": found.window,
            "tokenizer": tokenizer_digest(tokenizer) if tokenizer else None,
            "code": code_digest(*_ASKING),
        }
    )


def _judged(
    spec: EndpointRunSpec, tasks: dict[str, TaskScores], run: RunFolder
) -> EndpointJudgement:
    folder = Path(spec.baseline or "").expanduser()
    receipt.require_as_sealed(folder)
    earlier = earlier_run(folder)
    require_tasks(earlier, tasks)
    baseline = _brought(earlier, tasks, folder, run)
    comparison = compared(baseline.tasks, tasks, spec, run.path)
    power, _ = planned(spec.judged_verdict, run.path)
    return EndpointJudgement(
        baseline=baseline,
        comparison=comparison,
        verdict=judged(comparison, spec, power),
        power=power,
    )


def _brought(
    earlier: EarlierRun, tasks: dict[str, TaskScores], folder: Path, run: RunFolder
) -> EarlierRun:
    """Copy the rows of an earlier run into this one's folder: its verdict rests on them."""
    found = {}
    for name in tasks:
        rows = run.samples(BASELINE) / f"{name}.jsonl"
        rows.parent.mkdir(parents=True, exist_ok=True)  # names of tasks may hold a slash
        shutil.copyfile(folder / earlier.tasks[name].samples, rows)
        below = rows.relative_to(run.path).as_posix()
        found[name] = placed(earlier.tasks[name], samples=below, reused=True)
    return earlier.model_copy(update={"tasks": found})
