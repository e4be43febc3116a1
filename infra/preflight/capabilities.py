"""Whether the engine of each arm can answer what the tasks ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from infra.contracts.capability import named, unmet
from infra.contracts.errors import EvaluationError
from infra.contracts.specs import RunSpec
from infra.engines.registry import engine_of
from infra.preflight.findings import Finding, problem
from infra.suite.port import Line

_NAME = "questions"


def look_at(spec: RunSpec, lines: Sequence[Line]) -> Iterator[Finding]:
    """Find tasks that an engine of the run cannot answer, once an engine.

    Args:
        spec: The run.
        lines: Its tasks.
    """
    seen: set[str] = set()
    for arm in spec.evaluated.values():
        engine = engine_of(arm.serving)
        can = engine.can(arm.serving)
        short = {line.spec.name: missing for line in lines if (missing := unmet(line.needs, can))}
        if not short or engine.name in seen:
            continue
        seen.add(engine.name)
        for task, missing in short.items():
            rest = [line.spec.name for line in lines if line.spec.name not in short]
            yield problem(
                _NAME,
                EvaluationError(
                    f"{engine.title} cannot answer {task}.",
                    cause=f"The task needs what this engine does not have: {named(missing)}.",
                    remedy=f"Serve with an engine that has it, or leave {task} out of "
                    "evaluation.tasks" + (f"; {', '.join(rest)} can run here." if rest else "."),
                ),
            )
