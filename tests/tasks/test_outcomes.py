from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from prefect.states import State, StateType

from infra.contracts.errors import NotPassed
from infra.contracts.records import Verdict
from infra.contracts.specs import VerdictSpec
from tasks.outcomes import Published, conclude

PAGE = Path("/runs/one/report.html")
Status = Literal["PASS", "FAIL", "INCONCLUSIVE"]


def concluded(status: Status, *, gate: bool) -> State[Any]:
    verdict = Verdict(
        status=status, headline=f"{status}: so it is", reasons=("because",), margin_points=1.0
    )
    state: Any = conclude(Published(PAGE, verdict), VerdictSpec(gate=gate))
    assert isinstance(state, State)
    assert state.message == verdict.headline
    return state


@pytest.mark.parametrize(
    ("status", "name"),
    [("PASS", "Passed"), ("FAIL", "Regressed"), ("INCONCLUSIVE", "Inconclusive")],
)
def test_a_verdict_without_a_gate_is_only_told(status: Status, name: str) -> None:
    state = concluded(status, gate=False)
    assert (state.type, state.name, state.data) == (StateType.COMPLETED, name, PAGE)


def test_a_pass_goes_through_the_gate() -> None:
    assert concluded("PASS", gate=True).type == StateType.COMPLETED


@pytest.mark.parametrize("status", ["FAIL", "INCONCLUSIVE"])
def test_nothing_else_does(status: Status) -> None:
    state = concluded(status, gate=True)
    assert state.type == StateType.FAILED
    assert isinstance(state.data, NotPassed)
    assert (state.data.status, state.data.report) == (status, PAGE)
