"""One arm of the comparison: serve the model, let it sit the exam, keep every finished task.

A task is stored as soon as it is finished, under the digest of all that decides its scores, so a
run with one changed task pays for that task alone. Every single answer is stored as soon as it is
given, so a run that dies pays again only for the questions that were in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from infra.contracts.errors import ServerError
from infra.contracts.progress import Progress
from infra.contracts.records import (
    Arm,
    ArmResult,
    ArmSpeed,
    CheckpointSummary,
    PythonEnvironment,
    QuantizedCheckpoint,
    Restart,
    TaskScores,
    Weights,
)
from infra.contracts.specs import RunSpec
from infra.engines.restarts import work_through
from infra.engines.vllm.command import DEFAULT_LOGPROBS
from infra.engines.vllm.conditions import answers_of as answers_identity
from infra.engines.vllm.conditions import conditions as conditions_of
from infra.engines.vllm.server import LiveServer, serve
from infra.judging import early_stop
from infra.judging.power import planned
from infra.machine.device import Device, detect
from infra.machine.leases import Lease, lease
from infra.probes.fidelity import ReadingProbe
from infra.probes.probe import Probe
from infra.probes.speed import BenchProbe
from infra.probes.triage import Look
from infra.scoring.answers import count_kept
from infra.store.content import build_once, digest_of
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from infra.store.stored_scores import Stored
from infra.suite.harness.keys import task_keys
from infra.suite.harness.narrowing import Documents
from infra.suite.harness.prepared import prepared
from infra.suite.harness.prompts import check as check_prompts
from infra.suite.harness.suite import AnswerFile, Exam, changed_meanwhile

_SECOND_ORDER = 2
"""Seed of the order in which a second sitting is asked."""


def evaluate(
    arm: Arm,
    model: Weights | QuantizedCheckpoint,
    spec: RunSpec,
    *,
    environment: PythonEnvironment,
    run: RunFolder,
    settings: Settings,
    progress: Progress,
    sitting: int = 1,
    base: ArmResult | None = None,
) -> ArmResult:
    """Return what one arm scored on every task of the spec.

    A second sitting shows what changes with no change of the model: the same exam, asked in another
    order, with no answer taken from the first. It is neither looked at, nor timed, nor read with.

    Args:
        arm: Which of the two.
        model: The checkpoint to serve.
        spec: The run.
        environment: Interpreter with vLLM.
        run: Receives logs and sample rows.
        settings: Where finished tasks are kept.
        progress: Hears what happens.
        sitting: Which time it sits the exam: 1 or 2.
        base: The arm beside which this one may be stopped early, if the spec wants that.

    Raises:
        AcceleratorsTaken: Other runs held the accelerators for too long.
        ServerError: The engine did not come up, or not as the evaluation needs it.
        BrokenCheckpoint: The quantized model is not worth an evaluation.
        EvaluationError: The harness failed.
    """
    device = detect(spec.serving.device)
    conditions = conditions_of(model.digest, model.path, spec, environment, device)
    look: Look | None = None
    reading: ReadingProbe | None = None
    bench: BenchProbe | None = None
    if sitting == 1:
        name: str = arm
        origin = model.base_digest if isinstance(model, QuantizedCheckpoint) else model.digest
        look = Look(
            model, spec, conditions=conditions,
            base_conditions=conditions_of(origin, model.path, spec, environment, device),
            run=run, settings=settings, progress=progress,
        )  # fmt: skip
        reading = ReadingProbe(
            arm, model, spec, environment=environment, conditions=conditions,
            run=run, settings=settings, progress=progress,
        )  # fmt: skip
        bench = BenchProbe(
            arm, model, spec, environment=environment, conditions=conditions,
            run=run, settings=settings, progress=progress,
        )  # fmt: skip
    else:
        name = f"{arm}-again"
        conditions.append({"sitting": sitting})
    # Where nobody knows whether the rows are still the same, nothing is taken from another run.
    told = task_keys(spec.evaluation, settings)
    keys = {task: key or digest_of(["of one run", run.id, task]) for task, key in told.items()}
    stored = {
        task: Stored(settings.scores / digest_of([key, conditions])[:32])
        for task, key in keys.items()
    }
    if look:
        look.require_bound()
    rounds: early_stop.Rounds | None = None
    if base is not None and spec.verdict.early_stop:
        _, (margin_points, _) = planned(spec.verdict, run.path)
        rounds = early_stop.rounds(base, spec.verdict, margin_points, run.path)
        # Scores over a part of the rows must never be taken for whole ones, nor apart.
        together = settings.scores / digest_of([keys, conditions, rounds.identity()])[:32]
        stored |= {task: Stored(together / task) for task in rounds.tasks}
    missing = [task for task, entry in stored.items() if not entry.present]
    exam: Exam | None = None
    if missing:  # what can be known without an accelerator is known before one is held
        check_prompts(spec, model.path, settings=settings, progress=progress)
        exam = prepared(spec.evaluation, settings=settings, progress=progress)
        if exam.keys != told:
            raise changed_meanwhile("The definitions, their code or the rows of a task")
    if missing or _wanted(reading, bench):
        with lease(
            device, count=spec.serving.tensor_parallel_size, what=f"run {run.id}, {name} arm",
            settings=settings, progress=progress,
        ) as held:  # fmt: skip
            # Another run may have answered while this one waited for its accelerators.
            missing = [task for task in missing if not stored[task].present]
            if missing or _wanted(reading, bench):
                _sit(name, arm, model, spec, conditions, exam, missing, stored, rounds, environment,
                     device, held, look, (reading, bench), run, settings, progress)  # fmt: skip
    tasks = {
        task: entry.bring(name, run, reused=task not in missing) for task, entry in stored.items()
    }
    if reused := [task for task in stored if task not in missing]:
        progress.say(f"{name}: reused the scores of {', '.join(reused)}")
    newest = [*stored, *missing][-1]
    server = stored[newest].bring_server(name, run, reused=newest not in missing)
    documents = sum(task.n for task in tasks.values())
    seconds = sum(task.seconds for task in tasks.values())
    return ArmResult(
        checkpoint=CheckpointSummary(
            path=model.path,
            digest=model.digest,
            size_bytes=model.size_bytes,
            quantization=(
                model.quantization_config if isinstance(model, QuantizedCheckpoint) else None
            ),
        ),
        server=server,
        tasks=tasks,
        speed=ArmSpeed(
            startup_seconds=server.startup_seconds,
            evaluation_seconds=round(seconds, 2),
            documents_per_second=documents / seconds if seconds else 0.0,
        ),
        triage=look.found() if look else None,
        reading=reading.found() if reading else None,
        bench=bench.found() if bench else None,
    )


def _wanted(*probes: Probe | None) -> list[Probe]:
    """Return the probes that have to ask."""
    return [probe for probe in probes if probe and not probe.present]


def _sit(
    name: str,
    arm: Arm,
    model: Weights | QuantizedCheckpoint,
    spec: RunSpec,
    conditions: list[object],
    exam: Exam | None,
    missing: list[str],
    stored: dict[str, Stored],
    rounds: early_stop.Rounds | None,
    environment: PythonEnvironment,
    device: Device,
    lease: Lease,
    look: Look | None,
    probes: Sequence[Probe | None],
    run: RunFolder,
    settings: Settings,
    progress: Progress,
) -> None:
    # Loaded before the wait for an accelerator: whatever was edited since then is another exam.
    exams = dict.fromkeys(missing, exam) if exam else {}
    order = None if name == arm else _SECOND_ORDER
    asked: list[AnswerFile] = []

    def served(started_before: int) -> AbstractContextManager[LiveServer]:
        number = f"-{started_before + 1}" if started_before else ""
        return serve(
            model.path,
            arm=arm,
            spec=spec.serving,
            concurrency=spec.evaluation.concurrency,
            environment=environment,
            device=device,
            trust_remote_code=spec.model.trust_remote_code,
            log=run.log(f"server-{name}{number}"),
            progress=progress,
            lease=lease,
            logprobs=max(spec.fidelity.top_k, DEFAULT_LOGPROBS),
        )

    def answers_of(server: LiveServer) -> AnswerFile:
        identity = answers_identity(conditions, server.record.adjustments)
        asked.append(AnswerFile(settings.answers / f"{identity[:32]}.sqlite", identity))
        return asked[-1]

    def work(server: LiveServer, restarts: tuple[Restart, ...]) -> None:
        log = Path(server.record.log)
        here = {"log": log.relative_to(run.path).as_posix(), "restarts": restarts}
        record = server.record.model_copy(update=here)
        if look:
            look.take(server)
        answers = answers_of(server)
        together = rounds.tasks if rounds else ()

        def ask(task: str, only: Documents | None, samples: Path) -> TaskScores:
            return exams[task].evaluate(
                task, server, model.path, samples, progress, answers,
                order=order, only=only, trust_remote_code=spec.model.trust_remote_code,
            )  # fmt: skip

        def sit(task: str, folder: Path) -> None:
            Stored(folder).keep(ask(task, None, folder / Stored.SAMPLES), record, log)

        def sit_in_rounds(rounds: early_stop.Rounds, folder: Path) -> None:
            whole = {task: one.scores for task, one in stored.items() if task not in together}
            found = rounds.ask(ask, whole, lambda task: folder / task / Stored.SAMPLES, progress)
            for task, scores in found.items():
                Stored(folder / task).keep(scores, record, log)

        def once(what: str, folder: Path, build: Callable[[Path], None]) -> None:
            wait = partial(progress.say, f"another run is at {what}; waiting for it")
            build_once(folder, build, on_wait=wait)

        for task in (task for task in missing if task not in together):
            once(task, stored[task].folder, partial(sit, task))
        if rounds and not stored[together[0]].present:
            # Last, since the verdict after each round is about all tasks.
            once(", ".join(together), stored[together[0]].folder.parent,
                 partial(sit_in_rounds, rounds))  # fmt: skip
        for probe in _wanted(*probes):
            probe.take(server, restarts_left=spec.serving.max_restarts - len(restarts))

    try:
        work_through(
            served,
            work,
            most=spec.serving.max_restarts,
            answered=lambda: count_kept(asked[-1].path) if asked else 0,
            progress=progress,
        )
    except ServerError as error:
        if not all(entry.present for entry in stored.values()):
            raise
        progress.say(f"{name}: every score is kept; what was asked beside them is not. {error}")
