"""How outcomes are told to Prefect: a result that was already paid for, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from prefect.states import Completed, Failed

from infra.contracts.errors import NotPassed
from infra.contracts.records import Verdict
from infra.contracts.specs import VerdictSpec

T = TypeVar("T")


def outcome(value: T, *, reused: bool) -> T:
    """Return a task's value, under the state name `Reused` if an earlier run made it."""
    if not reused:
        return value
    # Prefect takes a returned state as the run's own and hands its data to the caller.
    return cast(T, Completed(name="Reused", message="An earlier run made this.", data=value))


@dataclass(frozen=True)
class Published:
    """A run whose report is written."""

    report: Path
    """The page."""

    verdict: Verdict


NAMES = {"PASS": "Passed", "FAIL": "Regressed", "INCONCLUSIVE": "Inconclusive"}
"""Verdict → name of the flow run's state, on which an automation can act."""


def conclude(published: Published, spec: VerdictSpec) -> Path:
    """Return the report's path, in the state in which a flow run ends.

    Completed; or Failed with a `NotPassed` that names it, if the verdict is
    no PASS and the spec lets it gate: whatever waits for the run must not go on then.
    """
    verdict = published.verdict
    name = NAMES[verdict.status]
    if verdict.status == "PASS" or not spec.gate:
        return cast(Path, Completed(name=name, message=verdict.headline, data=published.report))
    error = NotPassed(
        verdict.headline,
        cause=verdict.reasons[0] if verdict.reasons else "",
        remedy=verdict.needed or "Read the report; with verdict.gate=False a verdict is only told.",
        status=verdict.status,
        report=str(published.report),
    )
    return cast(Path, Failed(name=name, message=verdict.headline, data=error))
