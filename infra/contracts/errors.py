"""Everything Assay refuses or fails with.

One error says three things: the fact, the probable cause, the remedy.

    AssayError
    ├── SpecError               the spec cannot work
    ├── PreflightError          something the run needs is missing; lists every problem
    ├── NotEnough               the machine has less of something than the run needs
    ├── PrefectUnreachable      the configured Prefect API does not answer
    ├── MarginUnresolvable      the rows are too few for the margin
    ├── EnvironmentBuildError   a Python environment could not be built
    ├── ProcessError            a child process could not be run as it should
    │   ├── RunEnded            the run that it was for ended
    │   ├── ProcessTimedOut     it ran longer than it may
    │   └── ProcessesLeft       something of it survived SIGKILL
    ├── WeightsError            weights could not be had whole and verified
    │   ├── HubUnreachable      no answer from the hub
    │   ├── RepositoryNotFound  no such repository or revision, or not visible to this token
    │   ├── GatedRepository     access has to be asked for first
    │   ├── UnsafeWeights       only pickle weights, or code of the repository, would do
    │   └── CorruptWeights      a file is missing, truncated or not what its digest says
    ├── CalibrationError        the calibration set cannot be used
    ├── QuantizationError       the quantizer failed
    │   ├── UnsupportedModel    the quantizer cannot make of this model what the recipe says
    │   └── BrokenCheckpoint    a checkpoint, made here or not, is not worth an evaluation
    ├── Unservable              the engine would refuse to serve the model with these settings
    ├── AcceleratorsTaken       other runs of this machine hold them
    ├── ServerError             the engine did not come up or did not stay up
    │   ├── PortTaken           another process listens on the port
    │   ├── ServerDied          the engine ended by itself
    │   ├── ServerNotReady      the deadline passed first
    │   ├── ServerHung          it lives, but answers nothing any more
    │   └── ServerUnverified    it answers, but not as the evaluation needs
    ├── EndpointError           an endpoint somebody else runs is not what the run needs
    │   └── BudgetSpent         the next request would cost more than the run may
    ├── EvaluationError         the harness failed
    │   ├── RequestFailed       the server answered a question with an error, or not at all
    │   ├── TemplateError       the model's chat template does not take a question whole
    │   ├── TaskCodeError       the code of a task fails before any model is asked
    │   ├── UnknownTask         no such lm-eval task, group or tag
    │   ├── DatasetError        rows are missing, empty or of another schema
    │   └── MarkingError        an oracle does not score 1.0
    ├── ComparisonError         the arms were not evaluated alike
    ├── PushRefused             a checkpoint may not, or cannot, be put on a hub
    ├── PackRefused             a baseline pack cannot be written, read, or taken for this run
    ├── CellFailed              a cell of a matrix came to no result
    ├── NotPassed               the verdict is FAIL or INCONCLUSIVE, and the spec lets it gate
    ├── HistoryError            the table of earlier runs cannot be added to
    ├── StoreError              the store is not in a form that this version knows
    └── ReceiptError            a report cannot be checked at all
"""

from __future__ import annotations

import copyreg
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(eq=False, repr=False)
class AssayError(Exception):
    """Root of the tree. Survives pickling, because Prefect moves exceptions between processes."""

    fact: str
    """What happened, one sentence, no secret in it."""

    _: KW_ONLY

    cause: str = ""
    """The probable cause; empty if the fact already says it."""

    remedy: str = ""
    """What to do about it."""

    may_heal: bool = False
    """Whether the same, tried again in a while, may work without anybody doing anything."""

    def __post_init__(self) -> None:
        lines = [self.fact]
        if self.cause:
            lines.append(f"cause: {self.cause}")
        if self.remedy:
            lines.append(f"remedy: {self.remedy}")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are pickled as a call with their arguments, which leaves out named ones.
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


class SpecError(AssayError, ValueError):
    """The spec cannot work. Also a ValueError, so that pydantic reports it by field."""


@dataclass(kw_only=True, eq=False, repr=False)
class PreflightError(AssayError):
    """Something the run needs is missing; the fact lists every problem at once."""

    nothing_spent: bool = False
    """Whether it was found before anything was started: what a machine lacks may show later."""

    @classmethod
    def of(cls, problems: Sequence[AssayError], *, downloaded: bool = False) -> PreflightError:
        """Join what preflight found into one error, numbered, each with its own remedy.

        Args:
            problems: All of them.
            downloaded: Whether rows were downloaded before some of them were found.
        """
        lines = []
        for number, problem in enumerate(problems, 1):
            lines.append(f"{number}. {problem.fact}")
            lines += [f"   {line}" for line in str(problem).splitlines()[1:]]
        spent = "rows were downloaded, nothing was started" if downloaded else \
            "nothing was downloaded or started"  # fmt: skip
        count = "1 thing is" if len(problems) == 1 else f"{len(problems)} things are"
        return cls(
            "\n".join([f"{count} missing; {spent}.", *lines]),
            nothing_spent=True,
        )


class NotEnough(AssayError):
    """The machine has less of something than the run needs."""


class PrefectUnreachable(AssayError):
    """The configured Prefect API does not answer."""


class MarginUnresolvable(AssayError):
    """The rows are too few for the margin."""


class EnvironmentBuildError(AssayError):
    """A Python environment could not be built."""


class ProcessError(AssayError):
    """A child process could not be run as it should."""


class RunEnded(ProcessError):
    """The run that it was for ended."""


class ProcessTimedOut(ProcessError):
    """It ran longer than it may."""


class ProcessesLeft(ProcessError):
    """Something of it survived SIGKILL."""


class WeightsError(AssayError):
    """Weights could not be had whole and verified."""


@dataclass(kw_only=True, eq=False, repr=False)
class HubUnreachable(WeightsError):
    """No answer from the hub."""

    status: int | None = None
    """The HTTP status, if it answered with an error of its own."""


class RepositoryNotFound(WeightsError):
    """No such repository or revision, or not visible with this token."""


class GatedRepository(WeightsError):
    """Access to the repository has to be asked for first."""


class UnsafeWeights(WeightsError):
    """Only pickle weights, or code that comes with the repository, would do."""


class CorruptWeights(WeightsError):
    """A file is missing, truncated or not what its digest says."""


class CalibrationError(AssayError):
    """The calibration set cannot be used."""


class QuantizationError(AssayError):
    """The quantizer failed."""


class UnsupportedModel(QuantizationError):
    """The quantizer cannot make of this model what the recipe says."""


@dataclass(kw_only=True, eq=False, repr=False)
class BrokenCheckpoint(QuantizationError):
    """A checkpoint, made here or not, is not worth an evaluation."""

    checks: tuple[str, ...]
    """Names of the checks that it does not pass."""


class Unservable(AssayError):
    """The engine would refuse to serve the model with these settings."""


class AcceleratorsTaken(AssayError):
    """Other runs of this machine hold the accelerators."""


@dataclass(kw_only=True, eq=False, repr=False)
class ServerError(AssayError):
    """The engine did not come up or did not stay up."""

    diagnosis: str = ""
    """Name of the failure in the engine's table; empty if it is none of them."""

    exit_code: int | None = None
    """With which the engine ended (128 + n after signal n); None if it did not."""

    log: Path | None = None
    """What the engine printed; none if it was not started."""


class PortTaken(ServerError):
    """Another process listens on the port."""


class ServerDied(ServerError):
    """The engine ended by itself."""


class ServerNotReady(ServerError):
    """The deadline passed before the engine was ready."""


class ServerHung(ServerError):
    """The engine lives, but answers nothing any more."""


class ServerUnverified(ServerError):
    """The engine answers, but not as the evaluation needs."""


@dataclass(kw_only=True, eq=False, repr=False)
class EndpointError(AssayError):
    """An endpoint that somebody else runs is not what the run needs."""

    status: int | None = None
    """The HTTP status, if it answered with an error."""


class BudgetSpent(EndpointError):
    """The next request would cost more than the run may; it was not sent."""


class EvaluationError(AssayError):
    """The harness failed."""


@dataclass(kw_only=True, eq=False, repr=False)
class RequestFailed(EvaluationError):
    """The server answered a question with an error, or not at all."""

    status: int | None
    """The HTTP status; none if there was no answer."""


@dataclass(kw_only=True, eq=False, repr=False)
class TemplateError(EvaluationError):
    """The model's chat template refuses a question, or leaves a part of it out."""

    words: str
    """What the template says; empty where it leaves something out without a word."""

    nothing_helps: bool
    """Whether it is the question itself that is refused, with nothing that could be left away."""


@dataclass(kw_only=True, eq=False, repr=False)
class TaskCodeError(EvaluationError):
    """The code of a task fails before any model is asked."""

    command: str = ""
    """Brings what it needs; empty if nothing is missing, or nothing can bring it."""

    missing: tuple[str, ...] = ()
    """Packages that are not installed."""


class UnknownTask(EvaluationError):
    """No such lm-eval task, group or tag."""


class DatasetError(EvaluationError):
    """Rows are missing, empty or of another schema."""


class MarkingError(EvaluationError):
    """An oracle does not score 1.0, so scores would mean nothing."""


@dataclass(kw_only=True, eq=False, repr=False)
class ComparisonError(AssayError):
    """The arms were not evaluated alike."""

    field: str
    """What differs, or cannot be read: `rows`, `metrics`, `prompt`, `window`, …"""

    task: str = ""
    """In which task; empty if it is about all of them."""

    document: int | None = None
    """In which row of the task."""


@dataclass(kw_only=True, eq=False, repr=False)
class NotPassed(AssayError):
    """The run did all it should, and its verdict is no PASS."""

    status: Literal["FAIL", "INCONCLUSIVE"]
    report: Path
    """The page."""


class HistoryError(AssayError):
    """The table of earlier runs cannot be added to."""


class PushRefused(AssayError):
    """A checkpoint may not, or cannot, be put on a hub."""


class PackRefused(AssayError):
    """A baseline pack cannot be written, read, or taken for this run."""


class CellFailed(AssayError):
    """A cell of a matrix came to no result."""


class StoreError(AssayError):
    """The store is not in a form that this version knows, or somebody else cleans it up."""


class ReceiptError(AssayError):
    """A report cannot be checked at all: it is no report, or holds no receipt."""
