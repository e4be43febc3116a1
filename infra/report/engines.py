"""What happened to the engines that a reader of the scores should know."""

from __future__ import annotations

from infra.contracts.records import Pair, ServerRecord
from infra.report.text import arm_name


def engine_notes(pair: Pair) -> list[str]:
    """Return a line for each arm whose engine was adjusted or started again."""
    lines = []
    for arm, result in pair.arms.items():
        if parts := [*_adjustments(result.server), *_restarts(result.server)]:
            lines.append(f"The engine of {arm_name(arm)} {'; it '.join(parts)}.")
    return lines


def _adjustments(server: ServerRecord) -> list[str]:
    return [
        f"ran with {change.field}={change.after} instead of {change.before} "
        f"({_clause(change.reason)})"
        for change in server.adjustments
    ]


def _restarts(server: ServerRecord) -> list[str]:
    if not server.restarts:
        return []
    count = len(server.restarts)
    times = "once" if count == 1 else f"{count} times"
    last = server.restarts[-1]
    which = "" if count == 1 else "the last time "
    return [
        f"was started again {times} ({which}after {last.answered} answers, none of which was "
        f"asked for twice: {_clause(last.reason)})"
    ]


def _clause(sentence: str) -> str:
    return sentence.rstrip().removesuffix(".")
