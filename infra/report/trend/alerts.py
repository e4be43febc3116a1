"""Is this run worse than the last good one of its kind, and what has changed since?

A run is worse if its verdict is no PASS any more, if its quantized model answers the same questions
worse than that of the good run by more than chance explains, or if it lies outside the limits of
its control chart (see `infra.report.trend`).

The quantized models of two runs are compared like two arms: row by row, by the exact McNemar test,
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
from infra.contracts.records import Alert, Report, TaskScores
from infra.judging.pairing import paired_rows
from infra.judging.statistics import holm
from infra.report import trend
from infra.report.receipt.sealing import document_of
from infra.report.trend.changes import changes, changes_from_history
from infra.report.trend.rows import rows_of
from infra.store import history
from infra.suite.harness.metrics import in_points, is_corpus

if TYPE_CHECKING:
    import pandas as pd

_CHANCE = 0.01

VERDICT = "assay.verdict"
REGRESSED = "assay.run.regressed"


def alert(report: Report, runs: Path) -> Alert | None:
    """Return why a run is worse than the last good one of its kind, or none if it is not.

    Of its kind is a run with the same label and model that sat the same tasks; good is a PASS.

    Args:
        report: The run.
        runs: The folder that holds the runs and their history. Whether this run is in it already
            makes no difference. A history that cannot be read raises no alert: it refuses the run's
            rows, loudly, once the report is written.
    """
    try:
        frame = history.read(runs / history.NAME)
    except HistoryError:
        return None
    frame = frame[(frame["run_id"] != report.run_id) & (frame["created"] < report.created)]
    good = _last_good(report, frame)
    reasons: list[str] = []
    found: tuple[str, ...] = ()
    if good is not None:
        rows = frame[frame["run_id"] == good]
        before = _read(runs / good / "report.json")
        if report.verdict.status != "PASS":
            created = rows["created"].iloc[0]
            reasons.append(
                f"The verdict is {report.verdict.status}; {good} of {created:%Y-%m-%d} passed."
            )
        reasons += _worse(report, before, rows, good, runs)
        found = changes(before, report) if before else changes_from_history(rows, report)
    reasons += _out_of_control(report, frame)
    if not reasons:
        return None
    return Alert(reasons=tuple(reasons), good_run=good, changes=found)


def events(report: Report) -> list[dict[str, Any]]:
    """Return what to tell Prefect: the verdict, and that the run is worse if it is.

    Each is a set of arguments for `prefect.events.emit_event`. The resource is the label, so that
    an automation can follow a nightly run by its name.
    """
    label = report.spec.results.label
    resource = {
        "prefect.resource.id": f"assay.label.{label}",
        "prefect.resource.name": label,
        "assay.model": report.spec.model.id,
        "assay.run": report.run_id,
        "assay.verdict": report.verdict.status,
    }
    payload = _payload(report)
    told = [{"event": VERDICT, "resource": resource, "payload": payload}]
    if report.alert is not None:
        worse = {**payload, **report.alert.model_dump(mode="json")}
        told.append({"event": REGRESSED, "resource": resource, "payload": worse})
    return told


def _payload(report: Report) -> dict[str, Any]:
    pooled = report.comparison.pooled
    return {
        "run": report.run_id,
        "model": report.spec.model.id,
        "verdict": report.verdict.status,
        "headline": report.verdict.headline,
        "margin_points": report.verdict.margin_points,
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
                "base": metric.base.value,
                "quantized": metric.quantized.value,
                "difference": metric.difference,
                "low": metric.low,
                "high": metric.high,
                "lost": metric.lost,
                "gained": metric.gained,
            }
            for metric in report.comparison.metrics
            if metric.primary and metric.subtask_of is None
        },
        "size_ratio": report.comparison.size_ratio,
        "page": report.provenance.get("prefect_url", ""),
    }


def _last_good(report: Report, frame: pd.DataFrame) -> str | None:
    kind = frame[
        (frame["label"] == report.spec.results.label)
        & (frame["model"] == report.spec.model.id)
        & (frame["verdict"] == "PASS")
        & (frame["arm"] == "quantized")
    ].sort_values("created", kind="stable")
    tasks = set(report.arms["quantized"].tasks)
    for run, rows in reversed([*kind.groupby("run_id", sort=False)]):
        if set(rows["task"]) == tasks:
            return str(run)
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
    report: Report,
    before: dict[str, Any] | None,
    rows: pd.DataFrame,
    good: str,
    runs: Path,
) -> list[str]:
    """Return in which tasks the quantized model answers worse than the good run's."""
    tests: list[_Test] = []
    paired: list[tuple[int, int]] = []
    for name, scores in report.arms["quantized"].tasks.items():
        flips = _flips(scores, before, runs, report.run_id, good)
        if flips is not None:
            paired.append(flips)
            tests.append(_paired(f"the quantized model's {name}", *flips, good))
        elif unpaired := _unpaired(scores, rows, good):
            tests.append(unpaired)
    if len(paired) > 1:
        lost, gained = map(sum, zip(*paired, strict=True))
        tests.insert(0, _paired("over all tasks, the quantized model", lost, gained, good))
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
    scores: TaskScores, before: dict[str, Any] | None, runs: Path, run: str, good: str
) -> tuple[int, int] | None:
    """Return rows lost and gained since the good run, or none if rows cannot be joined."""
    metric = scores.primary_metric
    try:
        told = (before or {})["arms"]["quantized"]["tasks"][scores.name]
        earlier = TaskScores.model_validate(told)
        pairs = paired_rows(
            earlier.model_copy(update={"samples": f"{good}/{earlier.samples}"}),
            scores.model_copy(update={"samples": f"{run}/{scores.samples}"}),
            runs,
        )
    except (AssayError, KeyError, TypeError, ValueError):
        return None
    steps = []
    for pair in pairs:
        one, other = pair.base.metrics.get(metric), pair.quantized.metrics.get(metric)
        if not isinstance(one, int | float) or not isinstance(other, int | float):
            return None
        steps.append(float(other) - float(one))
    better = 1 if scores.metrics[metric].higher_is_better else -1
    return sum(better * step < 0 for step in steps), sum(better * step > 0 for step in steps)


def _unpaired(scores: TaskScores, rows: pd.DataFrame, good: str) -> _Test | None:
    """Compare the numbers of right answers; none if these are not of the same questions."""
    from scipy.stats import fisher_exact

    name, metric = scores.name, scores.primary_metric
    value = scores.metrics[metric]
    if not in_points(metric, name, value) or is_corpus(value):
        return None  # no share of right answers
    told = rows[(rows["arm"] == "quantized") & (rows["task"] == name) & (rows["metric"] == metric)]
    if told.empty or told["exam"].iloc[0] != scores.exam or told["n"].iloc[0] != scores.n:
        return None
    before, now = float(told["value"].iloc[0]), scores.metrics[metric].value
    counts = [value * scores.n for value in (now, before)]
    if not all(math.isclose(count, min(round(count), scores.n), abs_tol=1e-6) for count in counts):
        return None  # rows that are neither right nor wrong
    table = [[round(count), scores.n - round(count)] for count in counts]
    side = "less" if scores.metrics[metric].higher_is_better else "greater"
    return _Test(
        float(fisher_exact(table, alternative=side).pvalue),
        f"the quantized model's {name} fell from {wording.score(before, 'points')} to "
        f"{wording.score(now, 'points')} since {good}, whose rows are gone (p = {{p:.2g}}).",
    )


def _out_of_control(report: Report, frame: pd.DataFrame) -> list[str]:
    """Return in which charts the run lies on the bad side of the limits."""
    whole = history.with_run(frame, report.run_id, rows_of(report))
    reasons: list[str] = []
    for found in trend.trends(whole, trend.kind_of(report)):
        if not found.points or found.points[-1].run_id != report.run_id:
            continue
        last = found.points[-1]
        for what, judged in (
            ("the quantized model's score", last.judged_quantized),
            ("the difference", last.judged_difference),
        ):
            if found.worse(judged):
                reasons.append(_told(found, what, judged))
    return reasons


def _told(found: trend.Trend, what: str, judged: trend.Judged) -> str:
    if judged.flag in ("run above", "run below"):
        return f"{found.task}: {what} is the eighth in a row on the bad side of the earlier mean."
    ends: Sequence[float | None] = (judged.low, judged.high)
    unit: wording.Unit = "points" if found.percent else "value"
    text = wording.interval(ends[0] or 0.0, ends[1] or 0.0, unit)
    return f"{found.task}: {what} lies outside of {text}, where earlier runs let expect it."
