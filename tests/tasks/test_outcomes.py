from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from prefect.exceptions import FailedRun, MissingResult
from prefect.states import State, StateType

from infra.contracts.errors import NotPassed
from infra.contracts.records import Verdict
from infra.contracts.specs import VerdictSpec
from tasks.outcomes import Published, conclude, result_of

PAGE = Path("/runs/one/report.html")
Status = Literal["PASS", "FAIL", "INCONCLUSIVE"]


def concluded(status: Status, *, gate: bool | str) -> State[Any]:
    verdict = Verdict(
        status=status, headline=f"{status}: so it is", reasons=("because",), margin_points=1.0
    )
    spec = VerdictSpec.model_validate({"gate": gate})
    state: Any = conclude(Published(PAGE, verdict), spec)
    assert isinstance(state, State)
    assert state.message == verdict.headline
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


def test_a_state_that_comes_back_without_its_data_costs_no_result() -> None:
    def loses(status: Status, gate: bool, error: Exception) -> Path:
        concluded(status, gate=gate)
        raise error

    missing, failed = MissingResult(), FailedRun("FAIL: so it is")
    assert result_of(lambda: loses("PASS", True, missing)) == PAGE
    with pytest.raises(NotPassed, match="FAIL: so it is"):
        result_of(lambda: loses("FAIL", True, failed))

    def fails() -> Path:
        raise missing

    with pytest.raises(MissingResult):
        result_of(fails)
