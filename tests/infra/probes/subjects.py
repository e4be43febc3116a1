"""Arms as probes take them, without a run around them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infra.contracts.progress import Progress, Silent
from infra.contracts.records import (
    ArmResult,
    ArmSpeed,
    Checkpoint,
    CheckpointSummary,
    PythonEnvironment,
    ServerRecord,
)
from infra.contracts.specs import BASELINE, RunSpec
from infra.engines.port import Setup
from infra.engines.registry import engine_of
from infra.machine.device import detect
from infra.probes.subject import Subject
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings

NO_ENGINE = PythonEnvironment(name="none", python=Path("python"), digest="", provided=True)
"""For what is decided before anything is requested."""


def checkpoint_at(folder: Path, digest: str = "d") -> Checkpoint:
    """Return a folder as a checkpoint that is served as it came."""
    return Checkpoint(
        path=folder, digest=digest, files=(), size_bytes=1, model=folder.name, source="local",
        revision=None, quantization_config=None,
    )  # fmt: skip


def result_of(subject: Subject) -> ArmResult:
    """Return an arm without tasks."""
    return ArmResult(
        identity=subject.identity,
        checkpoint=CheckpointSummary.of(subject.checkpoint),
        server=ServerRecord(
            version="0", command=(), device="a processor", kernel=None, dtype=None,
            max_model_len=64, concurrency=None, startup_seconds=0, log="",
        ),
        tasks={},
        speed=ArmSpeed(startup_seconds=0, evaluation_seconds=0, documents_per_second=0),
    )  # fmt: skip


def subject_of(
    spec: RunSpec,
    checkpoint: Checkpoint,
    folder: Path,
    name: str = BASELINE,
    *,
    conditions: Sequence[object] = ("conditions",),
    tokenizer: Path | None = None,
    environment: PythonEnvironment = NO_ENGINE,
    run: RunFolder | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Subject:
    """Return one arm of a run.

    Args:
        spec: The run.
        checkpoint: What is served.
        folder: Holds the run's folder and the cache, unless these are given.
        name: Of the arm.
        conditions: All that decides what it answers besides the questions.
        tokenizer: Writes its prompts, if its own does not.
        environment: Interpreter with the engine.
        run: The run's folder.
        settings: Where results are kept.
        progress: Hears what happens.
    """
    arm = spec.arms[name]
    return Subject(
        name=name,
        arm=arm,
        checkpoint=checkpoint,
        tokenizer=tokenizer or checkpoint.path,
        spec=spec,
        engine=engine_of(arm.serving),
        setup=Setup(
            checkpoint.path,
            arm.serving,
            environment,
            detect(arm.serving.device),
            arm.model.trust_remote_code,
        ),
        conditions=tuple(conditions),
        answered=tuple(conditions),
        run=run or RunFolder(id="run", path=folder / "run"),
        settings=settings or Settings(cache=folder / "cache"),
        progress=progress or Silent(),
    )
