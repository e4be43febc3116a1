"""One arm of the comparison: serve the model, ask it the tasks, keep every finished task.

A task is stored as soon as it is finished, under the digest of all that decides its scores, so a
run with one changed task pays for that task alone. Every single answer is stored as soon as it is
given, so a run that dies pays again only for the questions that were in flight.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from infra.contracts.errors import EvaluationError, ServerError
from infra.contracts.progress import Progress
from infra.contracts.records import (
    ArmResult,
    ArmSpeed,
    Checkpoint,
    CheckpointSummary,
    FileDigest,
    PythonEnvironment,
    Restart,
    TaskScores,
)
from infra.contracts.records.embedding import EmbeddingModel
from infra.contracts.specs import RunSpec
from infra.engines.embeddings import Embedder, embedder_of, identity_of
from infra.engines.endpoint import ServedEndpoint
from infra.engines.port import Setup
from infra.engines.registry import engine_of
from infra.engines.restarts import work_through
from infra.judging import early_stop
from infra.judging.power import planned
from infra.machine import preloaded
from infra.machine.device import detect
from infra.machine.leases import Lease, lease
from infra.models import gguf_file, origin, quantization
from infra.models.parameters import count
from infra.models.template_clock import DATE, NO_CLOCK, Today, today_of
from infra.models.tokenizer_identity import tokenizer_digest, tokenizer_names
from infra.models.unchanged import Unchanged
from infra.probes.fidelity import ReadingProbe
from infra.probes.probe import Probe
from infra.probes.speed import BenchProbe
from infra.probes.subject import Subject
from infra.probes.triage import Look, look_at_ready_made
from infra.scoring.answers import count_kept
from infra.scoring.shared_answers import SharedAnswers
from infra.stages.loading import load_next
from infra.stages.submissions import submitted
from infra.store.content import build_once, digest_of
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from infra.store.shared import Shared, shared_of
from infra.store.stored_scores import REPEATED, Stored, scores_of, tokenized
from infra.suite import kind_of, tasks_with_functions
from infra.suite.passages.pending import require_retrieved
from infra.suite.port import AnswerFile, Suite
from infra.suite.prompt_check import check_prompts
from infra.suite.rows import Documents

PROBES: tuple[type[Probe], ...] = (ReadingProbe, BenchProbe)
"""What is measured on each arm beside its tasks, in this order."""

REPEAT = "repeat"
"""Suffix of an arm that is evaluated a second time."""

_SECOND_ORDER = 2
"""Seed of the order of a repeat's questions."""


@dataclass(frozen=True)
class _Evaluation:
    """What one arm has to answer, and with what it is evaluated."""

    subject: Subject
    name: str
    """Of the arm, or of its repeat."""

    stored: dict[str, Stored]
    """Task → where its scores are kept."""

    suite: Suite | None
    """The loaded tasks; none if no task is missing."""

    rounds: early_stop.Rounds | None
    """How a candidate is evaluated that may be stopped early."""

    look: Look | None
    """Triage; none for a repeat."""

    with_functions: frozenset[str]
    """Tasks that let the model call functions."""

    probes: tuple[Probe, ...]
    today: Today
    """What the server's own clock makes of chats with functions."""

    embedded: frozenset[str]
    """Tasks whose marks depend on vectors of texts."""

    embedding: EmbeddingModel | None
    """What is served for them; none where an endpoint embeds, or nothing does."""

    order: int | None
    """Seed of the order of questions; none for the tasks' own."""

    tokenizer_files: tuple[FileDigest, ...] = ()
    """Of a tokenizer that is the baseline's, as they were when the baseline was; none for its own.
    """

    shared: Shared | None = None
    """What other machines have, and get."""

    answers: list[AnswerFile] = field(default_factory=list)
    """Of every server that was started, the newest last."""

    waited: list[float] = field(default_factory=list)
    """Seconds until it was its turn; empty if nothing had to be asked."""

    @property
    def missing(self) -> list[str]:
        """Tasks that no run has finished yet."""
        return [task for task, entry in self.stored.items() if not entry.present]

    @property
    def wanted(self) -> list[Probe]:
        """Probes that have to ask."""
        return [probe for probe in self.probes if probe.wanted]


def evaluate(
    name: str,
    checkpoint: Checkpoint,
    spec: RunSpec,
    *,
    environment: PythonEnvironment,
    run: RunFolder,
    settings: Settings,
    progress: Progress,
    repeat: bool = False,
    baseline: ArmResult | None = None,
    embedding: EmbeddingModel | None = None,
) -> ArmResult:
    """Return what one arm scored on every task of the spec.

    A repeat shows what changes with no change at all: the same tasks, in another order, with
    no answer taken from the first time. It is neither looked at, nor timed, nor read with.

    Args:
        name: Of the arm.
        checkpoint: What to serve.
        spec: The run.
        environment: Interpreter with the engine.
        run: Receives logs and sample rows.
        settings: Where finished tasks are kept.
        progress: Hears what happens.
        repeat: Ask everything a second time.
        baseline: The baseline's result, for a candidate.
        embedding: What is served for tasks whose marks depend on vectors of texts; none where an
            endpoint embeds, or nothing does.

    Raises:
        AcceleratorsTaken: Other runs held the accelerators for too long.
        ServerError: The engine did not come up, or not as the evaluation needs it.
        BrokenCheckpoint: The candidate is not worth an evaluation.
        EvaluationError: The harness failed.
    """
    arm = spec.arms[name]
    device = detect(arm.serving.computes_on)
    engine = engine_of(arm.serving)
    kind = kind_of(spec.evaluation)
    with_functions = tasks_with_functions(spec.evaluation, settings, progress)
    parser = engine.tool_parser(arm.serving, checkpoint.path) if with_functions else None
    setup = Setup(
        checkpoint.path, arm.serving, environment, device, arm.model.trust_remote_code,
        adapter=checkpoint.applied, tool_parser=parser.name if parser else None,
    )  # fmt: skip
    conditions = engine.conditions(setup, checkpoint.identity)
    tokenizer = checkpoint.path
    if baseline is not None and spec.evaluation.tokenizer == "baseline":
        tokenizer = baseline.checkpoint.path
        if baseline.checkpoint.digest != checkpoint.origin:
            conditions.append(tokenized(baseline.checkpoint.digest))
    if repeat:
        conditions.append(REPEATED)
    ready_made = checkpoint.made is None and (
        checkpoint.quantization_config is not None or gguf_file.find(checkpoint.path) is not None
    )
    if baseline is not None and ready_made:
        look_at_ready_made(
            name, checkpoint, baseline, spec.evaluation.triage, run=run, progress=progress
        )
    answered = tuple(conditions)
    if arm.serving.adjust:
        # What its command will be is known when it runs: its scores, readings and timings are of
        # this run alone. Single answers go by the command that gave them.
        conditions.append({"adjusts itself in": run.id})
    subject = Subject(
        name=name, arm=arm, checkpoint=checkpoint, tokenizer=tokenizer, spec=spec,
        engine=engine, setup=setup, conditions=tuple(conditions), answered=answered, run=run,
        settings=settings, progress=progress, behind=(shared := shared_of(settings, progress)),
    )  # fmt: skip
    look: Look | None = None
    probes: tuple[Probe, ...] = ()
    if not repeat:
        look = Look(subject, baseline=baseline)
        probes = tuple(probe(subject) for probe in PROBES)
        look.require_bound()
    found = kind.keys(spec.evaluation, settings=settings)
    variables = spec.evaluation.chat_template_kwargs
    today = today_of(checkpoint.path, variables, run.id) if with_functions else NO_CLOCK
    keys = _keys(found, run.id, {task: [setup.tool_parser, today.stays] for task in with_functions})
    embedded = kind.embedded(spec.evaluation, settings=settings)
    embeds = _embeds(spec, embedding, run) if embedded else []
    stored = {
        task: Stored(
            scores_of(settings, key, [*conditions, *more]),
            shared if found[task] else None,
        )
        for task, key in keys.items()
        for more in [embeds if task in embedded else []]
    }
    rounds: early_stop.Rounds | None = None
    if baseline is not None and spec.verdict.early_stop:
        _, (margin_points, _) = planned(spec.judged_verdict, run.path)
        rounds = early_stop.rounds(baseline, spec.judged_verdict, margin_points, run.path)
        # Scores over a part of the rows must never be taken for whole ones, nor apart.
        whole = scores_of(settings, [keys, rounds.identity()], [*conditions, *embeds])
        behind = shared if all(found.values()) else None
        stored |= _together(whole, rounds, behind)
    suite: Suite | None = None
    if any(not entry.present for entry in stored.values()):
        # What can be known without an accelerator is known before one is held.
        check_prompts(
            spec.evaluation, arm, checkpoint.path, tokenizer,
            settings=settings, progress=progress, trust_remote_code=subject.trusts_tokenizer,
        )  # fmt: skip
        suite = kind.prepare(spec.evaluation, settings=settings, progress=progress, keys=found)
    evaluation = _Evaluation(
        subject=subject,
        name=f"{name}-{REPEAT}" if repeat else name,
        stored=stored,
        suite=suite,
        rounds=rounds,
        look=look,
        with_functions=with_functions,
        today=today,
        probes=probes,
        embedded=embedded,
        embedding=embedding,
        order=_SECOND_ORDER if repeat else None,
        tokenizer_files=(
            baseline.checkpoint.tokenizer_files
            if baseline is not None and tokenizer == baseline.checkpoint.path
            else ()
        ),
        shared=shared,
    )
    missing = _measure(evaluation)
    return _result(evaluation, missing)


def _embeds(spec: RunSpec, embedding: EmbeddingModel | None, run: RunFolder) -> list[object]:
    """Return all that decides a vector, for the keys of tasks whose marks depend on some."""
    if (wanted := spec.evaluation.embedding) is None:
        return []
    return [{"embedding": identity_of(wanted, embedding, run.id)}]


def _together(folder: Path, rounds: early_stop.Rounds, shared: Shared | None) -> dict[str, Stored]:
    return {task: Stored(folder / task, shared, entry=folder) for task in rounds.tasks}


def _keys(
    found: Mapping[str, str | None], run: str, rendered: Mapping[str, object]
) -> dict[str, str]:
    """Return the digest of all that decides each task's scores besides the served model.

    Where nobody knows whether the rows are still the same, nothing is taken from another run.

    Args:
        found: By the tasks themselves.
        run: This one.
        rendered: Task with functions, whose chats the server renders → what reads the calls out of
            its answers, and when it is.
    """
    keys = {task: key or digest_of(["of one run", run, task]) for task, key in found.items()}
    return {
        task: digest_of([key, rendered[task]]) if task in rendered else key
        for task, key in keys.items()
    }


def _measure(evaluation: _Evaluation) -> list[str]:
    """Ask what is missing; return the tasks that were not there before."""
    subject = evaluation.subject
    require_retrieved(subject.spec.evaluation)
    missing = evaluation.missing
    # Whether a probe has to ask is known by its texts: they are chosen before an accelerator waits.
    if evaluation.wanted or missing:
        came = time.monotonic()
        with (
            _alone(evaluation),
            lease(
                subject.setup.device,
                count=subject.arm.serving.tensor_parallel_size,
                what=f"run {subject.run.id}, {evaluation.name}",
                settings=subject.settings,
                progress=subject.progress,
                on_wait=preloaded.let_go,
            ) as held,
        ):
            evaluation.waited.append(time.monotonic() - came)
            # Another run may have answered while this one waited for its turn.
            missing = evaluation.missing
            if missing or evaluation.wanted:
                _ask(evaluation, missing, held)
    return missing


def _alone(evaluation: _Evaluation) -> AbstractContextManager[None]:
    """Let one machine at a time evaluate the same arm: the others wait, and hold no accelerator."""
    if evaluation.shared is None:
        return nullcontext()
    say = evaluation.subject.say
    arm = digest_of(sorted(entry.folder.name for entry in evaluation.stored.values()))
    return evaluation.shared.alone(
        f"arms/{arm}", lambda: say("another machine evaluates the same; waiting for it")
    )


def _result(evaluation: _Evaluation, missing: list[str]) -> ArmResult:
    stored, name, subject = evaluation.stored, evaluation.name, evaluation.subject
    tasks = {
        task: submitted(
            entry.bring(name, subject.run, reused=task not in missing), name, subject.run
        )
        for task, entry in stored.items()
    }
    if reused := [task for task in stored if task not in missing]:
        subject.progress.say(f"{name}: reused the scores of {', '.join(reused)}")
    for entry in stored.values():
        entry.share()
    newest = [*stored, *missing][-1]
    server = stored[newest].bring_server(name, subject.run, reused=newest not in missing)
    documents = sum(task.n for task in tasks.values())
    seconds = sum(task.seconds for task in tasks.values())
    form = quantization.of(subject.checkpoint.path)
    return ArmResult(
        identity=subject.identity,
        checkpoint=CheckpointSummary.of(
            subject.checkpoint,
            parameters=count(subject.checkpoint.path, form),
            format=form,
            origin=origin.of(subject.checkpoint.path),
            tokenizer_files=tuple(
                file
                for file in subject.checkpoint.files
                if file.name in tokenizer_names(subject.checkpoint.path)
            ),
        ),
        server=server,
        tasks=tasks,
        speed=ArmSpeed(
            startup_seconds=server.startup_seconds,
            evaluation_seconds=round(seconds, 2),
            documents_per_second=documents / seconds if seconds else 0.0,
            waited_seconds=round(sum(evaluation.waited), 2),
        ),
        triage=evaluation.look.found() if evaluation.look else None,
        not_measured=tuple(probe.left_out for probe in evaluation.probes if probe.left_out),
        **{probe.field: probe.found() for probe in evaluation.probes},
    )


def _ask(evaluation: _Evaluation, missing: list[str], held: Lease) -> None:
    """Serve the arm, and ask it what is missing; an engine that ends is started again."""
    subject, stored, rounds = evaluation.subject, evaluation.stored, evaluation.rounds
    serving = subject.arm.serving
    loaded = _read_by(evaluation)
    require = partial(_require, loaded)

    @contextmanager
    def served(started_before: int) -> Iterator[ServedEndpoint]:
        number = f"-{started_before + 1}" if started_before else ""
        with subject.engine.serve(
            subject.setup,
            name=subject.name,
            concurrency=subject.spec.evaluation.concurrency,
            logprobs=subject.spec.fidelity.top_k,
            log=subject.run.log(f"server-{evaluation.name}{number}"),
            progress=subject.progress,
            lease=held,
        ) as server:
            require()
            yield server

    def work(server: ServedEndpoint, restarts: tuple[Restart, ...]) -> None:
        load_next(
            subject.name, evaluation.look is None, subject.setup.checkpoint,
            spec=subject.spec, environment=subject.setup.environment, run=subject.run,
        )  # fmt: skip
        if evaluation.look:
            evaluation.look.take(server, require)
        in_rounds = rounds.tasks if rounds else ()
        with ExitStack() as meanwhile:
            for probe in evaluation.wanted:
                meanwhile.enter_context(probe.ahead(server))
            with _embedder(evaluation, held) as embedder, ExitStack() as sharing:
                asking = _Asking(evaluation, server, restarts, embedder, loaded)
                sharing.enter_context(asking.shared())
                whole = [task for task in missing if task not in in_rounds]
                for task, following in zip_longest(whole, whole[1:]):
                    ask = partial(asking.task, task, following)
                    asking.once(task, stored[task], ask)
                if rounds and not stored[in_rounds[0]].present:
                    # Last, since the verdict after each round is about all tasks.
                    last = stored[in_rounds[0]]
                    asking.once(", ".join(in_rounds), last, partial(asking.rounds, rounds))
            for probe in evaluation.wanted:
                left = serving.max_restarts - len(restarts)
                probe.take(server, restarts_left=left, require=require)

    try:
        work_through(
            served,
            work,
            most=serving.max_restarts,
            answered=lambda: sum(count_kept(one.path) for one in {*evaluation.answers}),
            progress=subject.progress,
        )
    except ServerError as error:
        if evaluation.missing:
            raise
        subject.say(f"every score is kept; what was measured beside them is not. {error}")
        for probe in evaluation.wanted:
            probe.leave_out(str(error))


def _read_by(evaluation: _Evaluation) -> tuple[Unchanged, ...]:
    """Return the folders that are served, and that of a tokenizer of the baseline's."""
    subject = evaluation.subject
    heard: dict[str, Any] = {"settings": subject.settings, "progress": subject.progress}
    served = Unchanged.of(subject.checkpoint, **heard)
    files = evaluation.tokenizer_files
    if not files:
        return served
    return *served, Unchanged(subject.tokenizer, files, what="The baseline's tokenizer", **heard)


def _require(loaded: tuple[Unchanged, ...]) -> None:
    """Refuse what was asked, if the files behind it or behind its prompts may be others."""
    for one in loaded:
        one.require()


def _embedder(evaluation: _Evaluation, held: Lease) -> AbstractContextManager[Embedder | None]:
    """Return what embeds, if anything shall: its server has the arm's accelerators."""
    subject = evaluation.subject
    spec = subject.spec.evaluation.embedding
    if spec is None or not evaluation.embedded:
        return nullcontext()
    return embedder_of(
        spec, evaluation.embedding,
        beside=(subject.setup.device, held), name=evaluation.name, run=subject.run,
        settings=subject.settings, progress=subject.progress,
    )  # fmt: skip


class _Asking:
    """Asks one running server, and keeps what it answers."""

    def __init__(
        self,
        evaluation: _Evaluation,
        server: ServedEndpoint,
        restarts: tuple[Restart, ...],
        embedder: Embedder | None,
        loaded: tuple[Unchanged, ...],
    ) -> None:
        self._evaluation = evaluation
        self._loaded = loaded
        self._embedder = embedder
        self._server = server
        subject = evaluation.subject
        self._log = Path(server.record.log)
        here = {"log": self._log.relative_to(subject.run.path).as_posix(), "restarts": restarts}
        self._record = server.record.model_copy(update=here)
        identity = subject.engine.identity(subject.answered, server.record.adjustments)
        self._answers = self._file(identity)
        rendered = [subject.setup.tool_parser, evaluation.today.stays]
        self._calls = self._file(digest_of([identity, *rendered]))
        evaluation.answers.append(self._answers)
        if evaluation.with_functions:
            evaluation.answers.append(self._calls)
        self._others = [
            SharedAnswers(file.path, file.identity, evaluation.shared.place, subject.say)
            for file in (self._answers, self._calls)[: 1 + bool(evaluation.with_functions)]
            if evaluation.shared is not None
        ]

    def _file(self, identity: str) -> AnswerFile:
        folder = self._evaluation.subject.settings.answers
        path = folder / f"{identity[:32]}.sqlite"
        if not self._evaluation.subject.engine.reads_on:
            return AnswerFile(path, identity)
        return AnswerFile(path, identity, partial(_require, self._loaded))

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Let other machines have what is answered in the block, as it is answered."""
        with ExitStack() as stack:
            for one in self._others:
                stack.enter_context(one.given())
            yield

    def task(self, task: str, following: str | None, folder: Path) -> None:
        """Ask all rows of a task; another may follow."""
        scores = self._scores(task, None, folder / Stored.SAMPLES, following)
        _require(self._loaded)
        Stored(folder).keep(scores, self._record, self._log)

    def rounds(self, rounds: early_stop.Rounds, folder: Path) -> None:
        """Ask tasks in rounds, until the verdict is certain."""
        whole = {
            task: entry.scores
            for task, entry in self._evaluation.stored.items()
            if task not in rounds.tasks
        }
        progress = self._evaluation.subject.progress
        found = rounds.ask(
            self._scores, whole, lambda task: folder / task / Stored.SAMPLES, progress
        )
        _require(self._loaded)
        for task, scores in found.items():
            Stored(folder / task).keep(scores, self._record, self._log)

    def once(self, what: str, stored: Stored, build: Callable[[Path], None]) -> None:
        """Let only one run at a time ask the same."""
        subject = self._evaluation.subject

        def build_on(partial: Path) -> None:
            # Whoever was at it before may be dead, and have left answers.
            if taken := sum(one.take() for one in self._others):
                subject.say(f"took over {taken} answers that another machine was given")
            build(partial)

        build_once(
            stored.entry,
            build_on,
            on_wait=lambda: subject.progress.say(f"another run is at {what}; waiting for it"),
            behind=stored.behind,
        )

    def _scores(
        self, task: str, only: Documents | None, samples: Path, following: str | None = None
    ) -> TaskScores:
        evaluation, subject = self._evaluation, self._evaluation.subject
        if task in evaluation.with_functions:
            self._require_today(task)
        # Loaded before the wait for an accelerator: whatever was edited since then is another task.
        assert evaluation.suite is not None  # noqa: S101 -- a task is missing
        scores = evaluation.suite.ask(
            task,
            self._server,
            subject.tokenizer,
            samples,
            subject.progress,
            self._calls if task in evaluation.with_functions else self._answers,
            order=evaluation.order,
            only=only,
            trust_remote_code=subject.trusts_tokenizer,
            embedder=self._embedder,
            following=following,
        )
        written: dict[str, object] = {"tokenizer": tokenizer_digest(subject.tokenizer)}
        if task in evaluation.with_functions and evaluation.today.stays:
            self._require_today(task)
            written["conditions"] = {**scores.conditions, DATE: evaluation.today.stays}
        return scores.model_copy(update=written)

    def _require_today(self, task: str) -> None:
        """Refuse a task whose chats are rendered on another day than its key says."""
        if self._evaluation.today.is_over:
            raise EvaluationError(
                f"The day changed before {task} was answered.",
                cause=f"{self._evaluation.subject.name}'s chat template writes the date, which is "
                "the server's own in chats with functions: its rows were not asked alike.",
                remedy="Start the run again: nothing is kept of this task. "
                "evaluation.chat_template_kwargs may fix the date by a variable of the template.",
                may_heal=True,
            )
