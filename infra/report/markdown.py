"""The report in brief: Markdown and a table of plain cells, as the Prefect UI shows them.

The UI strips inline SVG and styles, so a figure stands in the text as a PNG on white, which both
of its themes show well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from infra.contracts import wording
from infra.contracts.records import Comparison, MetricComparison, Pair, Pooled, Report
from infra.report import (
    functions_plot,
    functions_tables,
    gap_plot,
    gap_tables,
    plots,
    prose,
    ranking,
    reliability_plot,
    reliability_tables,
    repeats_tables,
    speed_plot,
    submissions,
    tables,
    tradeoff_plot,
)
from infra.report.engines import engine_notes
from infra.report.figures import data_uri
from infra.report.grid import grid, table
from infra.report.summary import Summary, headline_of, summarize
from infra.report.text import code, coded, escaped
from infra.report.words import CHANGES

ICONS = {"PASS": "✅", "FAIL": "❌", "INCONCLUSIVE": "⚠️"}


def artifact_markdown(report: Report) -> str:
    """Return all of the report but the rows and the provenance."""
    if not _several(report):
        parts = [
            *_of_pair(report.pairs[0], "#"),
            *_handed_in(report),
            *_stages(report),
            _origin(report),
        ]
    else:
        parts = [
            f"# {ICONS[report.verdict.status]} {report.verdict.status}",
            f"**{escaped(headline_of(report.verdict))}**",
            table(ranking.table(report)),
            _figure(tradeoff_plot.draw(report, kind="png"), "Loss against size and speed"),
            table(ranking.scores_table(report)),
            _list([f"{name} has no result: {why}" for name, why in report.failed.items()]),
            *(part for pair in report.pairs for part in _of_pair(pair, f"# {code(pair.name)}:")),
            *_handed_in(report),
            *_stages(report),
            _origin(report),
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _handed_in(report: Report) -> list[str]:
    found = submissions.of_arms(report.arms)
    return ["## To hand in", table(submissions.table(found))] if found else []


def _several(report: Report) -> bool:
    return len(report.pairs) + len(report.failed) != 1


def _origin(report: Report) -> str:
    return (
        f"Run {code(report.run_id)}, {report.created:%Y-%m-%d %H:%M %Z}. "
        "The whole report, with the rows that flipped, is `report.html` in the run's folder."
    )


def _of_pair(pair: Pair, heading: str) -> list[str]:
    summary = summarize(pair)
    return [
        f"{heading} {ICONS[summary.status]} {summary.status}",
        *first_lines(pair, summary),
        "## Quality: what it cost",
        _figure(plots.draw(pair, kind="png"), "Differences with their intervals"),
        grid(metrics_table(pair)),
        escaped(prose.pooled_note(pair)),
        escaped(f"{prose.interval_note(pair, pair.comparison.metrics)} {CHANGES}"),
        escaped(prose.power_note(pair)),
        table(tables.power(pair)),
        table(tables.noise(pair)),
        escaped(prose.noise_note()) if pair.comparison.noise else "",
        *_section("Beside another candidate", tables.against(pair), prose.against_note(pair)),
        *map(escaped, engine_notes(pair)),
        *_gaps(pair),
        *_section(
            "Function calling", functions_tables.parts(pair), functions_tables.introduction(pair),
            _figure(functions_plot.draw(pair, kind="png"), "All right by functions offered"),
        ),
        *_titled(functions_tables.offered(pair)),
        *_section(
            "Reliability: right as often as sure", reliability_tables.reliability(pair),
            reliability_tables.note(pair),
            _figure(reliability_plot.draw(pair, kind="png"), "Reliability of both arms"),
        ),
        *_titled(reliability_tables.positions(pair)),
        *_repeats(pair),
        *_section("Fidelity", tables.fidelity(pair), prose.fidelity_note(pair)),
        *_section("Length of written answers", tables.lengths(pair)),
        *_section(
            "Speed", tables.speed(pair), prose.speed_note(pair),
            _figure(speed_plot.draw(pair, kind="png"), "Speed of both arms"),
        ),
        *_section("Size, memory and time", tables.memory(pair), prose.evaluation_time_note(pair)),
        *_triage(pair),
        *_section("Calibration", tables.calibration(pair), prose.overlap_note(pair)),
        table(tables.overlap(pair)),
    ]  # fmt: skip


def _repeats(pair: Pair) -> list[str]:
    if not pair.comparison.repeats:
        return []
    return [
        "## Repeats: how steadily it answers",
        escaped(repeats_tables.introduction()),
        *map(escaped, repeats_tables.sentences(pair)),
        *_titled(repeats_tables.passes(pair)),
        *_titled(repeats_tables.steadiness(pair)),
        escaped(repeats_tables.note()),
    ]


def first_lines(pair: Pair, summary: Summary) -> Iterator[str]:
    """Yield what stands before the first section."""
    yield f"**{escaped(summary.headline)}**"
    yield f"{code(pair.spec.baseline.model.id)}, {escaped(summary.subject)}."
    if summary.alert:
        yield f"**Alert:** {escaped(summary.alert[0])}"
        yield _list(summary.alert[1:])
    if summary.alert_changes:
        yield "What changed since:"
        yield _list(summary.alert_changes)
    yield _list(summary.reasons)
    if summary.needed:
        yield f"**What would make it conclusive:** {coded(summary.needed)}"
    yield escaped(summary.margin)
    yield _list(summary.caveats)
    yield escaped(" ".join(summary.bought))


def artifact_table(report: Report) -> list[dict[str, str]]:
    """Return the ranking of several candidates, or the metrics of one."""
    if _several(report):
        return [dict(row) for row in ranking.table(report).rows]
    return metrics_table(report.pairs[0])


def metrics_table(pair: Pair) -> list[dict[str, str]]:
    """Return all rows together, then one row for each metric: of whole tasks, then their parts."""
    return comparison_table(pair.comparison)


def comparison_table(comparison: Comparison) -> list[dict[str, str]]:
    """Return what `metrics_table` does, of a comparison alone."""
    metrics = comparison.metrics
    whole = [metric for metric in metrics if metric.subtask_of is None]
    pooled = [_pooled(comparison.pooled, whole)] if comparison.pooled else []
    return pooled + [_cells(metric) for metric in [*whole, *(m for m in metrics if m.subtask_of)]]


def artifact_description(report: Report) -> str:
    """Return the verdict in a line and a small figure, for lists of artifacts."""
    draw = (
        partial(tradeoff_plot.draw, report)
        if _several(report)
        else partial(plots.draw, report.pairs[0])
    )
    figure = _figure(draw(layout="narrow", kind="png"), "Differences")
    status, headline = report.verdict.status, headline_of(report.verdict)
    return f"{ICONS[status]} {status}: {escaped(headline)}\n\n{figure}".rstrip()


def _section(name: str, of: tables.Table | None, note: str = "", figure: str = "") -> list[str]:
    return [f"## {name}", figure, table(of), coded(note)] if of else []


def _gaps(pair: Pair) -> list[str]:
    if pair.comparison.gaps is None:
        return []
    return [
        "## Gaps: how close the choices are",
        gap_tables.introduction(),
        _list(gap_tables.sentences(pair)),
        _figure(gap_plot.draw(pair, kind="png"), "Gaps of both arms"),
        gap_tables.legend(),
        table(gap_tables.changes(pair)),
        *_titled(gap_tables.flips(pair)),
        gap_tables.reading(pair),
        *_titled(gap_tables.closest(pair)),
        escaped(gap_tables.method(pair)),
    ]


def _titled(of: tables.Table | None) -> list[str]:
    return [f"### {of.caption}", table(of)] if of else []


def _triage(pair: Pair) -> list[str]:
    triage = pair.candidate.triage
    if triage is None:
        return []
    rows = [
        {
            "Check": check.name,
            "Found": check.value,
            "Wanted": check.wanted,
            "Passed": "yes" if check.ok else "no",
        }
        for check in triage.checks
    ]
    return ["## Triage", grid(rows)]


def _stages(report: Report) -> list[str]:
    rows = [
        {
            "Stage": name,
            "Time": wording.duration(seconds),
            "Reused": "yes" if name in report.reused else "",
        }
        for name, seconds in report.timings.items()
    ]
    reused = ", ".join(report.reused) or "nothing"
    return ["## Where the time went", grid(rows), f"Reused from earlier runs: {escaped(reused)}."]


def _figure(image: bytes | None, text: str) -> str:
    return f"![{text}]({data_uri(image, 'png')})" if image else ""


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {escaped(sentence)}" for sentence in sentences)


def _cells(metric: MetricComparison) -> dict[str, str]:
    bounded = metric.low is not None and metric.high is not None
    return {
        "Task": metric.task,
        "Metric": metric.metric,
        "Baseline": wording.score(metric.baseline.value, metric.unit),
        "Candidate": wording.score(metric.candidate.value, metric.unit),
        "Difference": wording.difference(metric.difference, metric.unit),
        "Interval": wording.interval(metric.low or 0.0, metric.high or 0.0, metric.unit)
        if bounded
        else "-",
        "p": "-" if metric.p_value is None else wording.p_value(metric.p_value),
        "p (Holm)": "-" if metric.p_adjusted is None else wording.p_value(metric.p_adjusted),
        "Recovery": "-" if metric.recovery is None else wording.share(metric.recovery),
        "Above chance": "-"
        if metric.recovery_above_chance is None
        else wording.share(metric.recovery_above_chance),
        "Rows": wording.times(metric.questions, metric.repeats).replace(",", ""),
        "Lost": str(metric.lost),
        "Gained": str(metric.gained),
        "Changed": str(metric.changed),
    }


def _pooled(pooled: Pooled, whole: Iterable[MetricComparison]) -> dict[str, str]:
    parts = [metric for metric in whole if metric.primary and metric.task in pooled.tasks]
    return {
        "Task": "All rows",
        "Metric": "pooled",
        "Baseline": "-",
        "Candidate": "-",
        "Difference": wording.difference(pooled.difference, "points"),
        "Interval": wording.interval(pooled.low, pooled.high, "points"),
        **dict.fromkeys(("p", "p (Holm)", "Recovery", "Above chance"), "-"),
        "Rows": str(pooled.rows),
        "Lost": str(sum(part.lost for part in parts)),
        "Gained": str(sum(part.gained for part in parts)),
        "Changed": str(sum(part.changed for part in parts)),
    }
