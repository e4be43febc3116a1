"""A baseline's answers in one file, for candidates that are judged elsewhere."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from infra.contracts.records.arms import ArmResult
from infra.contracts.records.record import FileDigest, Record
from infra.contracts.specs import ArmSpec, EvaluationSpec


class BaselinePack(Record):
    """What a pack says of itself. Its files are those of the run's folder, under the same names."""

    schema_version: Literal[1] = 1
    run_id: str
    """Run that evaluated the baseline."""

    created: datetime
    seal: str
    """Of that run's report: whoever has it can check that the pack belongs to it."""

    baseline: ArmSpec
    """As in the spec."""

    evaluation: EvaluationSpec
    """The tasks, as in the spec."""

    result: ArmResult
    """What it scored, read and took."""

    tasks: dict[str, str]
    """Task → digest of all that decides its questions and their marking."""

    engine: str
    """Digest of the environment that the engine ran in."""

    code: str = ""
    """Digest of Assay's own code that served it, asked it, read what it answered and timed it.
    Empty in packs of earlier versions, of which nobody knows."""

    variables: dict[str, str]
    """Variables that reached the engine from outside and may have changed an answer."""

    named: dict[str, str | None]
    """Files and folders that the engine's settings named → digest; none where nobody can tell."""

    cores: int | None
    """Of the processor that it computed on; none on an accelerator."""

    threads: int | None = None
    """As many of them as it could take the time of; packs of earlier versions took all."""

    files: tuple[FileDigest, ...]
    """Rows and readings."""
