"""How outcomes are shown in Prefect: a paid result, a verdict, and a failure that may heal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import FailedRun, MissingResult
from prefect.states import Completed, Failed

from infra.contracts.errors import AssayError, NotPassed
from infra.contracts.records import Verdict
from infra.contracts.specs import VerdictSpec
from tasks.news import delivered

T = TypeVar("T")


def outcome(value: T, *, reused: bool) -> T:
    """Return a task's value, under the state name `Reused` if an earlier run made it."""
    if not reused:
        return value
    # Prefect takes a returned state as the run's own. Futures and tasks that are given it have its
    # data of it; whoever called the task has the state, see `value_of`.
    return cast(T, Completed(name="Reused", message="An earlier run made this.", data=value))


def value_of(returned: T) -> T:
    """Return the value of a task that was called and may have returned an `outcome`."""
    return cast(T, returned.result()) if isinstance(returned, State) else returned


def may_heal(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Tell Prefect whether to try a failed task again: only where nobody has to do anything first.

    A refusal, a full disk or a wrong name are final at once.
    """
    error = state.data
    return isinstance(error, AssayError) and error.may_heal


@dataclass(frozen=True)
class Published:
    """A run whose report is written."""

    report: Path
    """The page."""

    verdict: Verdict | None
    """None if nothing is judged."""

    measured: str = "The baseline is measured; there is no candidate to judge."
    """What is said then."""


_NEWS_SECONDS = 30.0
"""How long a run that is over waits for the Prefect API to hear of its last steps."""
NAMES = {"PASS": "Passed", "FAIL": "Regressed", "INCONCLUSIVE": "Inconclusive"}
"""Verdict → name of the flow run's state, on which an automation can act."""
MEASURED = "Measured"
"""The state of a run that judges nothing."""
ENDS = (*NAMES.values(), MEASURED)
"""The states of a run that did all it should."""


def conclude(published: Published, spec: VerdictSpec) -> Path:
    """Return the report's path, in the state in which a flow run ends.

    Completed; or Failed with a `NotPassed` that names it, if the verdict is
    no PASS and the spec lets it gate: whatever waits for the run must not go on then.
    """
    delivered(_NEWS_SECONDS)
    state = _end(published, spec)
    # Now: Prefect will put a record of its own in its place.
    _ends.append(cast(Path | NotPassed, state.data))
    return cast(Path, state)


def result_of(flow: Callable[[], Path]) -> Path:
    """Run a flow in this process, and return the report's path.

    Where the answer of the Prefect API to a run's end is lost, it is told the end once more,
    refuses that, and gives back the state that it has: without what is in it. That is known here.
    A flow that returns a path instead of a state has it in any case.

    Raises:
        NotPassed: The verdict gates.
        Exception: Of the flow.
    """
    _ends.clear()
    try:
        return flow()
    except (MissingResult, FailedRun):
        if not _ends:
            raise
        ended = _ends[-1]
        if isinstance(ended, Exception):
            raise ended from None
        return ended


_ends: list[Path | NotPassed] = []
"""With what the flow of this process ended."""


def _end(published: Published, spec: VerdictSpec) -> State[Any]:
    verdict = published.verdict
    if verdict is None:
        return Completed(name=MEASURED, message=published.measured, data=published.report)
    name = NAMES[verdict.status]
    if verdict.status == "PASS" or spec.gate == "none":
        return Completed(name=name, message=verdict.headline, data=published.report)
    error = NotPassed(
        verdict.headline,
        cause=verdict.reasons[0] if verdict.reasons else "",
        remedy=verdict.needed
        or "Read the report; verdict.gate=none reports a verdict and no more.",
        status=verdict.status,
        report=published.report,
    )
    return Failed(name=name, message=verdict.headline, data=error)
