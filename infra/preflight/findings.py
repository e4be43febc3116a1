"""What a check of the preflight says, and the table of them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from infra.contracts.errors import AssayError
from infra.contracts.records import Record
from infra.contracts.wording import wrapped

Status = Literal["ok", "note", "problem"]


class Finding(Record):
    """One thing that was looked at."""

    name: str
    status: Status
    """`note`: worth knowing, and no reason to stop."""

    found: str
    """The fact."""

    cause: str = ""
    """Of a problem; empty if the fact already says it."""

    remedy: str = ""
    """What to do about a problem."""

    arm: str = ""
    """Of a problem, which candidate has it; empty where it is the run's, or anybody's."""

    downloaded: bool = False
    """Whether rows were downloaded to find it."""

    @property
    def error(self) -> AssayError:
        """The problem as an error."""
        fact = f"Candidate {self.arm}: {self.found}" if self.arm else self.found
        return AssayError(fact, cause=self.cause, remedy=self.remedy)


def ok(name: str, found: str) -> Finding:
    """Return what is as it should be."""
    return Finding(name=name, status="ok", found=found)


def note(name: str, found: str) -> Finding:
    """Return what is worth knowing, and no reason to stop."""
    return Finding(name=name, status="note", found=found)


def problem(name: str, error: AssayError) -> Finding:
    """Return what keeps the run from working."""
    return Finding(
        name=name, status="problem", found=error.fact, cause=error.cause, remedy=error.remedy
    )


def look(name: str, check: Callable[[], Finding | str]) -> Finding:
    """Return what a check finds: it returns a finding or a good fact, or raises its problem."""
    try:
        found = check()
    except AssayError as error:
        return problem(name, error)
    return named(name, "", found)


def named(name: str, prefix: str, found: Finding | str) -> Finding:
    """Return what a check returned under a name, with a word on what it is about."""
    if isinstance(found, str):
        return ok(name, prefix + found)
    return found.model_copy(update={"name": name, "found": prefix + found.found})


def problems(findings: Iterable[Finding]) -> list[AssayError]:
    """Return what keeps the run from working."""
    return [finding.error for finding in findings if finding.status == "problem"]


def table(findings: Sequence[Finding]) -> str:
    """Return all findings as text in aligned columns, each problem with its remedy below."""
    names = max((len(finding.name) for finding in findings), default=0)
    lines = []
    for finding in findings:
        head = f"{finding.status:<8} {finding.name:<{names}}  "
        lines += wrapped(head, " " * (names + 11), finding.found)
        for label in ("cause", "remedy"):
            if text := getattr(finding, label):
                indent = " " * (names + 11)
                lines += wrapped(f"{indent}{label}: ", f"{indent}  ", text)
    return "\n".join([*lines, "", _verdict(findings)])


def _verdict(findings: Sequence[Finding]) -> str:
    count = sum(finding.status == "problem" for finding in findings)
    if not count:
        return f"Nothing is missing; {len(findings)} things were looked at."
    things = "1 thing is" if count == 1 else f"{count} things are"
    return f"{things} missing, of {len(findings)} looked at."
