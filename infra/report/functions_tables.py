"""How well functions are called, in tables and words."""

from __future__ import annotations

from infra.contracts import wording
from infra.contracts.records import Pair
from infra.contracts.records.functions import FunctionCalls
from infra.report.tables import Table

_MEANING = {
    "all_right": "all of it",
    "right_calls": "functions and arguments",
    "right_functions": "functions alone",
    "right_parallel": "several calls at once",
    "right_restraint": "no call where none is due",
    "right_final": "final answer uses what came back",
    "well_formed": "calls can be read",
}


def parts(pair: Pair) -> Table | None:
    """Return what makes rows right, part by part."""
    rows = [
        {
            "Task": task,
            "Right": _MEANING.get(part.metric, part.metric),
            "Rows": f"{part.rows:,}",
            "Baseline": wording.share(part.baseline),
            "Candidate": wording.share(part.candidate),
        }
        for task, found in pair.comparison.functions.items()
        for part in found.parts
    ]
    return Table("Function calling, part by part", rows) if rows else None


def offered(pair: Pair) -> Table | None:
    """Return what is right by how many functions are offered; none if that is one number."""
    rows = [
        {
            "Task": task,
            "Functions offered": f"{one.offered:,}",
            "Rows": f"{one.rows:,}",
            "Baseline": wording.share(one.baseline),
            "Candidate": wording.share(one.candidate),
            "Difference": wording.difference(one.difference, "points"),
            "Interval": "-"
            if one.low is None or one.high is None
            else wording.interval(one.low, one.high, "points"),
        }
        for task, found in swept(pair).items()
        for one in found.offered
    ]
    return Table("By number of functions", rows) if rows else None


def swept(pair: Pair) -> dict[str, FunctionCalls]:
    """Return the tasks that were asked with several numbers of functions."""
    return {
        task: found
        for task, found in pair.comparison.functions.items()
        if len(found.offered) > 1
    }  # fmt: skip


def introduction(pair: Pair) -> str:
    """Return what the section is about, and what read the calls."""
    parsers = {
        arm: result.server.tool_parser for arm, result in pair.arms.items() if result.server
    }  # fmt: skip
    named = sorted({name for name in parsers.values() if name})
    read = f" The engine's parser {' and '.join(named)} read the calls." if named else ""
    return (
        "A row is right if exactly the calls that are due are made, by the rules of the Berkeley "
        "Function-Calling Leaderboard, and the final answer, where one is due, uses what came "
        f"back.{read}"
    )


def note(pair: Pair) -> str:
    """Return how the numbers by number of functions are read; empty without any."""
    tasks = swept(pair)
    if not tasks:
        return ""
    confidence = next(iter(tasks.values())).confidence
    return (
        "The same questions are asked with each number of functions; those that are due are always "
        f"among them. Intervals are of the paired difference at {wording.confidence(confidence)}, "
        "in points, and describe: "
        "the verdict rests on all rows together."
    )
