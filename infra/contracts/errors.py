"""Everything Assay refuses or fails with.

One error says three things: the fact, the probable cause, the remedy.

    AssayError
    ├── SpecError               what was asked cannot work
    ├── PreflightError          something the run needs is missing; lists every problem
    ├── EnvironmentBuildError   a Python environment could not be built
    ├── ProcessError            a child process could not be run as it should
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
    │   ├── UnsupportedModel    AutoAWQ cannot quantize this model with this recipe
    │   └── BrokenCheckpoint    what it made is not worth an evaluation
    ├── AcceleratorsTaken       other runs of this machine hold them
    ├── ServerError             the engine did not come up or did not stay up
    │   ├── PortTaken           another process listens on the port
    │   ├── ServerDied          the engine ended by itself
    │   ├── ServerNotReady      the deadline passed first
    │   ├── ServerHung          it lives, but answers nothing any more
    │   └── ServerUnverified    it answers, but not as the evaluation needs
    ├── EvaluationError         the harness failed
    │   ├── UnknownTask         no such lm-eval task, group or tag
    │   ├── DatasetError        rows are missing, empty or of another schema
    │   └── MarkingError        an examinee who knows every answer does not score 1.0
    ├── ComparisonError         the two arms did not sit the same exam
    ├── NotPassed               the verdict is FAIL or INCONCLUSIVE, and the spec lets it gate
    ├── HistoryError            the table of earlier runs cannot be added to
    └── ReceiptError            a report cannot be checked at all
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class AssayError(Exception):
    """Root of the tree. Survives pickling, because Prefect moves exceptions between processes.

    Attributes:
        fact: What happened, one sentence, no secret in it.
        cause: The probable cause; empty if the fact already says it.
        remedy: What to do about it.
        facts: The values the sentence was made from, for programs.
    """

    def __init__(self, fact: str, *, cause: str = "", remedy: str = "", **facts: Any) -> None:
        self.fact = fact
        self.cause = cause
        self.remedy = remedy
        self.facts = facts
        super().__init__(self._message())

    @property
    def may_heal(self) -> bool:
        """Whether the same, tried again in a while, may work without anybody doing anything."""
        return bool(self.facts.get("may_heal"))

    def _message(self) -> str:
        lines = [self.fact]
        if self.cause:
            lines.append(f"cause: {self.cause}")
        if self.remedy:
            lines.append(f"remedy: {self.remedy}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.fact, self.cause, self.remedy, self.facts)


def _rebuild(
    kind: type[AssayError], fact: str, cause: str, remedy: str, facts: dict[str, Any]
) -> AssayError:
    return kind(fact, cause=cause, remedy=remedy, **facts)


class SpecError(AssayError, ValueError):
    """What was asked cannot work. Also a ValueError, so that pydantic reports it by field."""


class PreflightError(AssayError):
    """Something the run needs is missing. `facts["problems"]` lists every problem at once.

    What a machine lacks may show later than in preflight; `nothing_spent` tells the two apart.
    """

    @property
    def nothing_spent(self) -> bool:
        """Whether it was found before anything was started."""
        return bool(self.facts.get("nothing_spent"))

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
            problems=[problem.fact for problem in problems],
            nothing_spent=True,
        )


class EnvironmentBuildError(AssayError):
    """A Python environment could not be built."""


class ProcessError(AssayError):
    """A child process could not be run as it should."""


class ProcessTimedOut(ProcessError):
    """It ran longer than it may."""


class ProcessesLeft(ProcessError):
    """Something of it survived SIGKILL."""


class WeightsError(AssayError):
    """Weights could not be had whole and verified."""


class HubUnreachable(WeightsError):
    """No answer from the hub."""


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
    """AutoAWQ cannot quantize this model with this recipe."""


class BrokenCheckpoint(QuantizationError):
    """What the quantizer made is not worth an evaluation; `facts["checks"]` says why."""


class AcceleratorsTaken(AssayError):
    """Other runs of this machine hold the accelerators."""


class ServerError(AssayError):
    """The engine did not come up or did not stay up."""


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


class EvaluationError(AssayError):
    """The harness failed."""


class UnknownTask(EvaluationError):
    """No such lm-eval task, group or tag."""


class DatasetError(EvaluationError):
    """Rows are missing, empty or of another schema."""


class MarkingError(EvaluationError):
    """An examinee who knows every answer does not score 1.0, so scores would mean nothing."""


class ComparisonError(AssayError):
    """The two arms did not sit the same exam."""


class NotPassed(AssayError):
    """The run did all it should, and its verdict is no PASS.

    Facts are `status`, `FAIL` or `INCONCLUSIVE`, and `report`, the path of the page.
    """


class HistoryError(AssayError):
    """The table of earlier runs cannot be added to."""


class ReceiptError(AssayError):
    """A report cannot be checked at all: it is no report, or holds no receipt."""
