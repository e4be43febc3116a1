"""The folder of one run: its spec, what each stage gave, how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from infra.contracts.errors import PreflightError
from infra.contracts.records import Record
from infra.contracts.specs import EndpointRunSpec, ResultsSpec, RunSpec, Spec
from infra.store.content import write_atomically
from infra.store.runs_identity import identify
from infra.store.settings import Settings
from infra.store.shared import BROUGHT
from infra.store.usage import for_run


class StageRecord(Record):
    """One finished stage of a run."""

    name: str
    seconds: float
    reused: bool
    """True if an earlier run had already paid for it."""


@dataclass
class Stage:
    """A stage under way; `reused` is set by whoever finds that out."""

    name: str
    reused: bool = False


class RunFolder(Record):
    """Where one run keeps what it leaves behind."""

    id: str
    path: Path
    """Folder, absolute."""

    def log(self, name: str) -> Path:
        """Return the path of a log file, its folder made."""
        path = self.path / "logs" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def samples(self, arm: str) -> Path:
        """Return the folder of one arm's sample rows, made."""
        path = self.path / "samples" / arm
        path.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, record: Record | Spec) -> None:
        """Keep a record as `<name>.json`."""
        write_atomically(self.path / f"{name}.json", record.model_dump_json(indent=2) + "\n")

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Time a stage; a stage that raises leaves no record."""
        for_run(self.path)  # a retry may be carried out by another process
        started = time.monotonic()
        stage = Stage(name)
        yield stage
        record = StageRecord(
            name=name, seconds=round(time.monotonic() - started, 2), reused=stage.reused
        )
        write_atomically(self._stages / f"{name}.json", record.model_dump_json() + "\n")

    def stages(self) -> tuple[StageRecord, ...]:
        """Return the finished stages, oldest first."""
        files = sorted(self._stages.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        return tuple(StageRecord.model_validate_json(path.read_text()) for path in files)

    @property
    def _stages(self) -> Path:
        return self.path / "stages"


def runs_folder(results: ResultsSpec, settings: Settings) -> Path:
    """Return the folder that holds the runs, absolute."""
    return Path(results.folder or settings.runs).expanduser().absolute()


def open_run(
    spec: RunSpec | EndpointRunSpec, settings: Settings, *, created: datetime, key: str
) -> RunFolder:
    """Make the folder of a run, or find it again when the same run is retried.

    Args:
        spec: Of the run; kept as `spec.json`.
        settings: Where runs are kept.
        created: When the run was created; the same for a retry.
        key: Unique per run and the same for a retry (the flow run's id).

    Raises:
        PreflightError: The folder cannot be written.
    """
    name = f"{spec.results.label}-{created:%Y%m%d-%H%M%S}-{key[:8]}"
    run = RunFolder(id=name, path=runs_folder(spec.results, settings) / name)
    try:
        identify(run.path.parent)
        for_run(run.path)
        run.write("spec", spec)
        (run.path / BROUGHT).unlink(missing_ok=True)  # what another machine began goes on here
        report = run.path / "report.json"
        if report.is_file():  # a retry: what it sealed is about to change
            report.replace(run.path / "report-before-retry.json")
    except OSError as error:
        raise PreflightError(
            f"The run's folder {run.path} cannot be written.",
            cause=error.strerror or type(error).__name__,
            remedy="Set results.folder or ASSAY_RUNS to a folder you may write to.",
            nothing_spent=True,
        ) from error
    return run
