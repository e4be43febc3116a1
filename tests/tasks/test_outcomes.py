from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from prefect import flow
from prefect.exceptions import MissingResult
from prefect.states import State, StateType

from infra.contracts.errors import CellFailed, NotPassed
from infra.contracts.records import Verdict
from infra.contracts.specs import VerdictSpec
from tasks.outcomes import Published, conclude, result_of
from tests.api_proxy import ApiProxy

PAGE = Path("/runs/one/report.html")
Status = Literal["PASS", "FAIL", "INCONCLUSIVE"]


def verdict(status: Status) -> Verdict:
    return Verdict(
        status=status, headline=f"{status}: so it is", reasons=("because",), margin_points=1.0
    )


def concluded(status: Status, *, gate: bool | str) -> State[Any]:
    spec = VerdictSpec.model_validate({"gate": gate})
    state: Any = conclude(Published(PAGE, verdict(status)), spec)
    assert isinstance(state, State)
    assert state.message == verdict(status).headline
    return state


@pytest.mark.parametrize(
    ("status", "name"),
    [("PASS", "Passed"), ("FAIL", "Regressed"), ("INCONCLUSIVE", "Inconclusive")],
)
@pytest.mark.parametrize("gate", [False, "none"])
def test_a_verdict_without_a_gate_is_only_reported(
    status: Status, name: str, gate: bool | str
) -> None:
    state = concluded(status, gate=gate)
    assert (state.type, state.name, state.data) == (StateType.COMPLETED, name, PAGE)


@pytest.mark.parametrize("gate", [True, "all", "any"])
def test_a_pass_goes_through_the_gate(gate: bool | str) -> None:
    assert concluded("PASS", gate=gate).type == StateType.COMPLETED


@pytest.mark.parametrize("gate", [True, "all", "any"])
@pytest.mark.parametrize("status", ["FAIL", "INCONCLUSIVE"])
def test_nothing_else_does(status: Status, gate: bool | str) -> None:
    state = concluded(status, gate=gate)
    assert state.type == StateType.FAILED
    assert isinstance(state.data, NotPassed)
    assert (state.data.status, state.data.report) == (status, PAGE)


def test_a_baseline_that_was_measured_alone_is_not_judged() -> None:
    state: Any = conclude(Published(PAGE, None), VerdictSpec(gate="all"))
    assert (state.type, state.name, state.data) == (StateType.COMPLETED, "Measured", PAGE)


@flow
def judged(status: Status) -> Path:
    return conclude(Published(PAGE, verdict(status)), VerdictSpec(gate=True))


@flow
def shown(fails: bool) -> Path:
    if fails:
        raise CellFailed("No cell has a result.")
    return PAGE


def test_a_lost_answer_to_the_end_costs_no_result(losing_ends: ApiProxy) -> None:
    assert result_of(lambda: judged("PASS")) == PAGE
    with pytest.raises(NotPassed, match="FAIL: so it is"):
        result_of(lambda: judged("FAIL"))
    # One that returns a path, as a matrix does, has it in any case.
    assert shown(fails=False) == PAGE
    with pytest.raises(CellFailed):
        shown(fails=True)
    assert len(losing_ends.lost) == 4


def test_what_a_flow_does_not_end_with_is_not_made_up() -> None:
    error = MissingResult()

    def fails() -> Path:
        raise error

    with pytest.raises(MissingResult):
        result_of(fails)
