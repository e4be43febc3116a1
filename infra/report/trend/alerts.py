"""Is this run worse than the last good one of its kind, and what has changed since?

A run is worse if its verdict is no PASS any more, if its candidate answers the same questions
worse than that of the good run by more than chance explains, or if it lies outside the limits of
its control chart (see `infra.report.trend`).

The candidates of two runs are compared like two arms: row by row, by the exact McNemar test,
while the rows of both are there; by the numbers of right answers (Fisher's exact test, which sees
less) where the good run's rows are gone. Over all tasks, and for each task alone, Holm's correction
over all of these. A nightly run asks often, so chance may explain less than 1 %.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from infra.contracts import wording
from infra.contracts.errors import AssayError, HistoryError
from infra.contracts.migration import FORMER_CANDIDATE
from infra.contracts.records import Alert, Pair, Report, TaskScores
from infra.contracts.specs import BASELINE
from infra.judging.asked import by_question
from infra.judging.earlier_runs import recipe_of
from infra.judging.pairing import paired_rows
from infra.judging.statistics import holm
from infra.report import trend
from infra.report.receipt.sealing import document_of
from infra.report.trend.changes import changes, changes_from_history
from infra.report.trend.rows import rows_of
from infra.store import history
from infra.suite.metrics import in_points, is_corpus

if TYPE_CHECKING:
    import pandas as pd

_CHANCE = 0.01

VERDICT = "assay.verdict"
REGRESSED = "assay.run.regressed"


def alert(pair: Pair, runs: Path) -> Alert | None:
    """Return why a run is worse than the last good one of its kind, or none if it is not.

    Of its kind is a candidate with its recipe in a run with the same label, model and tasks; where
    there is none, one with its name; and where there is none of that, the one candidate of a run
    from before candidates had names. Good is a PASS.

    Args:
        pair: The candidate.
        runs: The folder that holds the runs and their history. Whether this run is in it already
            makes no difference. A history that cannot be read raises no alert: it refuses the run's
            rows, loudly, once the report is written.
    """
    report, spec = pair.report, pair.spec
    kind = {"label": spec.results.label, "model": spec.baseline.model.id}
    try:
        frame = history.read(runs, trend.COLUMNS, **kind)
    except HistoryError:
        return None
    frame = frame[(frame["run_id"] != report.run_id) & (frame["created"] < report.created)]
    good = _last_good(pair, frame)
    reasons: list[str] = []
    found: tuple[str, ...] = ()
    if good is not None:
        before = _read(runs / good.run / "report.json")
        if pair.verdict.status != "PASS":
            created = good.rows["created"].iloc[0]
            reasons.append(
                f"The verdict is {pair.verdict.status}; {good.run} of {created:%Y-%m-%d} passed."
            )
        reasons += _worse(pair, before, good, runs)
        if before:
            found = changes(before, report)
        else:
            found = changes_from_history(history.read(runs, run_id=good.run), report)
    reasons += _out_of_control(pair, frame)
    if not reasons:
        return None
    return Alert(reasons=tuple(reasons), good_run=good.run if good else None, changes=found)


def events(report: Report) -> list[dict[str, Any]]:
    """Return what Prefect is to hear: the verdict of the run, and each candidate that is worse.

    Each is a set of arguments for `prefect.events.emit_event`. The resource is the label, so that
    an automation can follow a nightly run by its name.
    """
    label = report.spec.results.label
    resource = {
        "prefect.resource.id": f"assay.label.{label}",
        "prefect.resource.name": label,
        "assay.model": report.spec.baseline.model.id,
        "assay.run": report.run_id,
        "assay.verdict": report.verdict.status,
    }
    payload = {
        "run": report.run_id,
        "model": report.spec.baseline.model.id,
        "verdict": report.verdict.status,
        "headline": report.verdict.headline,
        "margin_points": report.verdict.margin_points,
        "page": report.provenance.get("prefect_url", ""),
        "candidates": {pair.name: _payload(pair) for pair in report.pairs},
        "failed": report.failed,
    }
    found = [{"event": VERDICT, "resource": resource, "payload": payload}]
    for pair in report.pairs:
        if (alert := pair.judgement.alert) is not None:
            worse = {**payload, "candidate": pair.name, **alert.model_dump(mode="json")}
            found.append({"event": REGRESSED, "resource": resource, "payload": worse})
    return found


def _payload(pair: Pair) -> dict[str, Any]:
    pooled = pair.comparison.pooled
    return {
        "verdict": pair.verdict.status,
        "headline": pair.verdict.headline,
        "pooled": (
            pooled.model_dump(
                mode="json",
                include={"rows", "flip_rate", "difference", "low", "high", "bound", "confidence"},
            )
            if pooled
            else None
        ),
        "tasks": {
            metric.task: {
                "metric": metric.metric,
                "baseline": metric.baseline.value,
                "candidate": metric.candidate.value,
                "difference": metric.difference,
                "low": metric.low,
                "high": metric.high,
                "lost": metric.lost,
                "gained": metric.gained,
            }
            for metric in pair.comparison.metrics
            if metric.primary and metric.subtask_of is None
        },
        "size_ratio": pair.comparison.size_ratio,
    }


class _Good(NamedTuple):
    """The last good candidate of a kind."""

    run: str
    arm: str
    rows: pd.DataFrame
    """Its own."""


def _last_good(pair: Pair, frame: pd.DataFrame) -> _Good | None:
    passed = frame[(frame["verdict"] == "PASS") & (frame["arm"] != BASELINE)]
    tasks = set(pair.candidate.tasks)
    for column, value in (
        ("recipe", recipe_of(pair.change)),
        ("arm", pair.name),
        ("arm", FORMER_CANDIDATE),
    ):
        alike = passed[passed[column] == value].sort_values("created", kind="stable")
        for (run, arm), rows in reversed([*alike.groupby(["run_id", "arm"], sort=False)]):
            if set(rows["task"]) == tasks:
                return _Good(str(run), str(arm), rows)
    return None


def _read(path: Path) -> dict[str, Any] | None:
    """Return an earlier report's JSON as this version has it, whichever version wrote it.

    What its version did not know is as it is by default, and no change since.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    try:
        return document_of(Report.model_validate(found))
    except ValueError:
        return found


class _Test(NamedTuple):
    """Of one task, or of all together: are the answers worse than in the good run?"""

    p_value: float
    sentence: str


def _worse(
    pair: Pair,
    before: dict[str, Any] | None,
    good: _Good,
    runs: Path,
) -> list[str]:
    """Return in which tasks the candidate answers worse than the good run's."""
    tests: list[_Test] = []
    paired: list[tuple[int, int]] = []
    for name, scores in pair.candidate.tasks.items():
        flips = _flips(scores, before, runs, pair.report.run_id, good)
        if flips is not None:
            paired.append(flips)
            tests.append(_paired(f"the candidate's {name}", *flips, good.run))
        elif unpaired := _unpaired(scores, good):
            tests.append(unpaired)
    if len(paired) > 1:
        lost, gained = map(sum, zip(*paired, strict=True))
        tests.insert(0, _paired("over all tasks, the candidate", lost, gained, good.run))
    adjusted = holm([test.p_value for test in tests])
    return [
        test.sentence[:1].upper() + test.sentence[1:].format(p=p)
        for test, p in zip(tests, adjusted, strict=True)
        if p < _CHANCE
    ]


def _paired(what: str, lost: int, gained: int, good: str) -> _Test:
    from scipy.stats import binomtest

    flips = lost + gained
    p_value = float(binomtest(lost, flips, alternative="greater").pvalue) if flips else 1.0
    return _Test(
        p_value,
        f"{what} lost {lost:,} rows and gained {gained:,} against {good} (p = {{p:.2g}}).",
    )


def _flips(
    scores: TaskScores, before: dict[str, Any] | None, runs: Path, run: str, good: _Good
) -> tuple[int, int] | None:
    """Return rows lost and gained since the good run, or none if rows cannot be joined.

    A question that is asked several times is one row, lost if it is answered rightly less often.
    """
    metric = scores.primary_metric
    try:
        found = (before or {})["arms"][good.arm]["tasks"][scores.name]
        earlier = TaskScores.model_validate(found)
        pairs = paired_rows(
            earlier.model_copy(update={"samples": f"{good.run}/{earlier.samples}"}),
            scores.model_copy(update={"samples": f"{run}/{scores.samples}"}),
            runs,
        )
    except (AssayError, AttributeError, KeyError, TypeError, ValueError):
        return None
    steps = []
    for asked in by_question(pairs) or [[pair] for pair in pairs]:
        step = 0.0
        for pair in asked:
            one, other = pair.baseline.metrics.get(metric), pair.candidate.metrics.get(metric)
            if not isinstance(one, int | float) or not isinstance(other, int | float):
                return None
            step += float(other) - float(one)
        steps.append(step)
    better = 1 if scores.metrics[metric].higher_is_better else -1
    return sum(better * step < 0 for step in steps), sum(better * step > 0 for step in steps)


def _unpaired(scores: TaskScores, good: _Good) -> _Test | None:
    """Compare the numbers of right answers; none if these are not of the same questions."""
    from scipy.stats import fisher_exact

    name, metric = scores.name, scores.primary_metric
    value = scores.metrics[metric]
    if not in_points(metric, name, value) or is_corpus(value):
        return None  # no share of right answers
    rows = good.rows[(good.rows["task"] == name) & (good.rows["metric"] == metric)]
    same = (rows["n"] == scores.n) & (rows["questions"] == scores.questions)
    if not same.fillna(False).any():
        return None
    before, now = float(rows["value"].iloc[0]), scores.metrics[metric].value
    asked = scores.distinct
    counts = [value * asked for value in (now, before)]
    if not all(math.isclose(count, min(round(count), asked), abs_tol=1e-6) for count in counts):
        return None  # rows that are neither right nor wrong, or answers to one question that differ
    table = [[round(count), asked - round(count)] for count in counts]
    side = "less" if scores.metrics[metric].higher_is_better else "greater"
    return _Test(
        float(fisher_exact(table, alternative=side).pvalue),
        f"the candidate's {name} fell from {wording.score(before, 'points')} to "
        f"{wording.score(now, 'points')} since {good.run}, whose rows are gone (p = {{p:.2g}}).",
    )


def _out_of_control(pair: Pair, frame: pd.DataFrame) -> list[str]:
    """Return in which charts the run lies on the bad side of the limits."""
    whole = history.with_run(frame, pair.report.run_id, rows_of(pair.report))
    reasons: list[str] = []
    for found in trend.trends(whole, trend.kind_of(pair)):
        if not found.points or found.points[-1].run_id != pair.report.run_id:
            continue
        last = found.points[-1]
        for what, judged in (
            ("the candidate's score", last.judged_candidate),
            ("the difference", last.judged_difference),
        ):
            if found.worse(judged):
                reasons.append(_sentence(found, what, judged))
    return reasons


def _sentence(found: trend.Trend, what: str, judged: trend.Judged) -> str:
    if judged.flag in ("run above", "run below"):
        return f"{found.task}: {what} is the eighth in a row on the bad side of the earlier mean."
    ends: Sequence[float | None] = (judged.low, judged.high)
    unit: wording.Unit = "points" if found.percent else "value"
    text = wording.interval(ends[0] or 0.0, ends[1] or 0.0, unit)
    return f"{found.task}: {what} lies outside of {text}, where earlier runs let expect it."
