"""An endpoint that somebody else runs: ask it the tasks, keep every finished one, report.

It is evaluated as it is: no lease, no watchdog, no restart, and its identity is the user's word.
"""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

from infra.contracts.progress import Progress
from infra.contracts.records import TaskScores
from infra.contracts.records.endpoint import EndpointReport, Found
from infra.contracts.specs.endpoint import EndpointRunSpec
from infra.engines.remote.budget import Budget
from infra.engines.remote.endpoint import RemoteEndpoint
from infra.judging.endpoint import ENDPOINT, beside, intervals, rows_of_run, title_of_run
from infra.models.tokenizer_identity import tokenizer_digest
from infra.store.content import build_once, code_digest, digest_of
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from infra.store.stored_scores import Stored
from infra.suite import kind_of
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
) -> EndpointReport:
    """Return what an endpoint scored on every task.

    Args:
        spec: The run.
        found: What it can.
        tokenizer: Folder of its model's tokenizer; none if prompts travel as text.
        run: Receives rows.
        created: When the run was.
        settings: Where finished tasks and answers are kept.
        progress: Hears what happens.

    Raises:
        EndpointError: It is not what it was when it was looked at, or the budget is spent.
        EvaluationError: It cannot be asked, or the harness failed.
    """
    started = time.monotonic()
    kind = kind_of(spec.evaluation)
    keys = kind.keys(spec.evaluation, settings=settings)
    suite = kind.prepare(spec.evaluation, settings=settings, progress=progress, keys=keys)
    budget = Budget(spec.endpoint, found.spent)
    endpoint = RemoteEndpoint.of(spec.endpoint, found, budget)
    identity = _identity(spec, found, tokenizer, run)
    answers = AnswerFile(settings.answers / f"{identity[:32]}.sqlite", identity)
    code = code_digest(*_CODE)
    tasks: dict[str, TaskScores] = {}
    for name, key in keys.items():
        # Where nobody knows whether the rows are still the same, nothing is taken from another run.
        whose = key or digest_of(["of one run", run.id, name])
        stored = Stored(settings.scores / digest_of([whose, identity, code])[:32])
        reused = stored.present
        if not reused:
            progress.say(f"asking {name}")
            build_once(
                stored.folder,
                lambda folder, name=name: _ask(  # type: ignore[misc]
                    name, folder, spec, suite, endpoint, tokenizer, answers, progress
                ),
                on_wait=lambda: progress.say("another run is at the same; waiting for it"),
            )
        tasks[name] = stored.bring(ENDPOINT, run, reused=reused)
    return EndpointReport(
        run_id=run.id,
        created=created,
        spec=spec,
        found=found,
        tasks=tasks,
        intervals=dict(intervals(tasks, run.path)),
        spent=budget.spent,
        seconds=round(time.monotonic() - started, 2),
        **_beside(spec, tasks, run),
    )


def _ask(
    name: str,
    folder: Path,
    spec: EndpointRunSpec,
    suite: Suite,
    endpoint: RemoteEndpoint,
    tokenizer: Path | None,
    answers: AnswerFile,
    progress: Progress,
) -> None:
    """Ask one task whole; a task of which a part was answered leaves no score."""
    trusted = spec.endpoint.tokenizer is not None and spec.endpoint.tokenizer.trust_remote_code
    scores = suite.ask(
        name, endpoint, tokenizer, folder / Stored.SAMPLES, progress, answers,
        trust_remote_code=trusted,
    )  # fmt: skip
    digest = tokenizer_digest(tokenizer) if tokenizer else ""
    Stored(folder).keep_scores(scores.model_copy(update={"tokenizer": digest}))


def _identity(spec: EndpointRunSpec, found: Found, tokenizer: Path | None, run: RunFolder) -> str:
    """Return the key of its answers: the user's word, or this run alone where there is none."""
    return digest_of(
        {
            "endpoint": found.url,
            "model": found.model,
            "answers as": found.answers_as,
            "version": spec.endpoint.version,
            "run": None if spec.endpoint.version else run.id,
            "prompts": found.prompts,
            "chat": spec.evaluation.chat_template,
            "scoring": found.scoring,
            "window": found.window,
            "tokenizer": tokenizer_digest(tokenizer) if tokenizer else None,
            "code": code_digest(*_ASKING),
        }
    )


def _beside(
    spec: EndpointRunSpec, tasks: dict[str, TaskScores], run: RunFolder
) -> dict[str, object]:
    """Return its rows beside those of the baseline; nothing if there is none."""
    if spec.baseline is None:
        return {}
    folder = Path(spec.baseline).expanduser()
    theirs = rows_of_run(folder, tasks)
    return {
        "baseline": title_of_run(folder),
        "beside": {
            name: beside(name, task, run.path / task.samples, theirs[name])
            for name, task in tasks.items()
        },
    }
