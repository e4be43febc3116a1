"""Is the report of an endpoint right? Everything but the model's answers is made once more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from infra.contracts.errors import AssayError
from infra.contracts.records import EndpointJudgement, EndpointReport, RowComparison
from infra.judging.endpoint import compared, intervals, judged
from infra.report.receipt.checks import Checked, checked, counted
from infra.report.receipt.comparing import plain, reworded, unequal
from infra.report.receipt.margins import Planned, check_plan
from infra.report.receipt.remaking import NOT_MADE, differs
from infra.report.receipt.rules import RULES
from infra.report.receipt.scores import check_scores

_WORD = (
    "which weights, engine and settings answered is the user's word, and nothing here can check it"
)


def remade(report: EndpointReport, folder: Path) -> tuple[Checked, ...]:
    """Return what every check says of a report, by the rules of the version that wrote it.

    Args:
        report: The report.
        folder: That of its run, which holds the rows.
    """
    if wrong := list(_unaccounted(report)):
        return (checked("report", "its baseline", wrong),)
    reported = {"tasks": report.tasks}
    if report.judged:
        reported["judged.baseline.tasks"] = report.judged.baseline.tasks
    found = [check_scores(reported, folder), _intervals(report, folder)]
    if report.judged:
        comparison, again = _comparison(report, report.judged, folder)
        found += [comparison, _verdict(report, report.judged, again, folder)]
    said = f"{report.found.model} at {report.found.url}"
    return (*found, checked("endpoint", said, notes=[_WORD]))


def _unaccounted(report: EndpointReport) -> Iterator[str]:
    if report.judged is None and report.spec.baseline is not None:
        yield "judged is missing, which spec.baseline asks for"
    if report.judged is not None and report.spec.baseline is None:
        yield "judged is there, though spec.baseline names nothing"


def _intervals(report: EndpointReport, folder: Path) -> Checked:
    what = counted(len(report.intervals), "interval")
    try:
        again = dict(intervals(report.tasks, folder))
    except NOT_MADE as error:
        return checked("intervals", what, [_not_again(error)])
    wrong: list[str] = []
    for task in dict.fromkeys([*report.intervals, *again]):
        reported, found = report.intervals.get(task), again.get(task)
        wrong += unequal(f"intervals.{task}", plain(reported), plain(found))
    return checked("intervals", f"{what}, made again", wrong)


def _comparison(
    report: EndpointReport, said: EndpointJudgement, folder: Path
) -> tuple[Checked, RowComparison | None]:
    reported = said.comparison
    try:
        again = compared(
            said.baseline.tasks, report.tasks, report.spec, folder, RULES.get(report.rules)
        )
    except NOT_MADE as error:
        return checked("comparison", "differences, intervals", [_not_again(error)]), None
    where = "judged.comparison"
    wrong = list(unequal(where, plain(reported), plain(again)))
    for place, (one, other) in enumerate(zip(reported.metrics, again.metrics, strict=False)):
        words = reworded(f"{where}.metrics[{place}]", plain(one), plain(other))
        wrong += [text for text, number in words if number]
    count = counted(len(again.metrics), "difference")
    return checked("comparison", f"{count} with intervals and tests, made again", wrong), again


def _verdict(
    report: EndpointReport, said: EndpointJudgement, again: RowComparison | None, folder: Path
) -> Checked:
    verdict = said.verdict
    if again is None:
        unmade = ["judged.verdict cannot be made again, since the comparison cannot"]
        return checked("verdict", verdict.status, unmade)
    wrong: list[str] = []
    notes: list[str] = []
    try:
        decided = judged(again, report.spec, said.power)
        wrong, notes = differs("judged.verdict", verdict, decided, exact=True)
    except NOT_MADE as error:
        wrong = [_not_again(error)]
    margin = verdict.margin_points, verdict.widened_from_points
    planned = Planned(report.spec.judged_verdict, said.power, margin, report.rules)
    wrong += check_plan(planned, said.baseline.tasks, folder)
    return checked("verdict", f"{verdict.status}, made again", list(dict.fromkeys(wrong)), notes)


def _not_again(error: Exception) -> str:
    fact = error.fact if isinstance(error, AssayError) else repr(error)
    return f"it cannot be made again: {fact:.300}"
