"""Tasks with functions or guided answers are possible where an endpoint was shown to take them."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.contracts.capability import Capability
from infra.contracts.records.endpoint import Ability
from infra.contracts.specs import TaskSpec
from infra.preflight.outlook import outlook_of
from infra.suite.port import Line
from tests.infra.made_endpoints import make_endpoint_run

TOOLS = (frozenset([Capability.TOOLS]),)
GUIDED = (
    frozenset([Capability.COMPLETIONS]),
    frozenset([Capability.TOKEN_PROMPTS]),
    frozenset([Capability.JSON_SCHEMA]),
)


@pytest.mark.parametrize(
    ("needs", "name", "grade"),
    [(TOOLS, Capability.TOOLS, "generation only"), (GUIDED, Capability.JSON_SCHEMA, "exact")],
)
def test_it_is_possible_where_that_was_shown_and_else_says_why_not(
    tmp_path: Path, needs: tuple[frozenset[Capability], ...], name: Capability, grade: str
) -> None:
    report = make_endpoint_run(tmp_path, rows=20)
    line = Line(
        spec=TaskSpec(name="mine"), tasks=("mine",), sources=(), here=True, metrics=(),
        hub_metrics=(), needs=needs,
    )  # fmt: skip
    for shown in (True, False):
        ability = Ability(name=name, found=shown, why="it answers in words")
        found = report.found.model_copy(update={"abilities": (ability,)})
        outlook = outlook_of(line, found, report.spec)
        assert outlook.grade == (grade if shown else "not possible")
        assert ("it answers in words" in outlook.why) is not shown
