"""The report in brief: Markdown and a table of plain cells, as the Prefect UI shows them.

The UI strips inline SVG and styles, so a figure stands in the text as a PNG on white, which both
of its themes show well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from infra.contracts import wording
from infra.contracts.records import MetricComparison, Pooled, Report
from infra.report import plots, prose, speed_plot, tables
from infra.report.engines import engine_notes
from infra.report.figures import data_uri
from infra.report.grid import grid, table
from infra.report.summary import Summary, summarize
from infra.report.text import code, coded, escaped
from infra.report.words import CHANGES

ICONS = {"PASS": "✅", "FAIL": "❌", "INCONCLUSIVE": "⚠️"}


def artifact_markdown(report: Report) -> str:
    """Return all of the report but the rows and the provenance."""
    told = summarize(report)
    parts = [
        f"# {ICONS[told.status]} {told.status}",
        *first_lines(report, told),
        "## Quality: what it cost",
        _figure(plots.draw(report, kind="png"), "Differences with their intervals"),
        grid(artifact_table(report)),
        escaped(prose.pooled_note(report)),
        escaped(f"{prose.interval_note(report.comparison.metrics)} {CHANGES}"),
        escaped(prose.power_note(report)),
        table(tables.power(report)),
        table(tables.noise(report)),
        escaped(prose.noise_note()) if report.comparison.noise else "",
        *map(escaped, engine_notes(report)),
        *_section("Fidelity", tables.fidelity(report), prose.fidelity_note(report)),
        *_section("Length of written answers", tables.lengths(report)),
        *_section(
            "Speed", tables.speed(report), prose.speed_note(report),
            _figure(speed_plot.draw(report, kind="png"), "Speed of both arms"),
        ),
        *_section("Size, memory and time", tables.memory(report), prose.exam_speed_note(report)),
        *_triage(report),
        *_section("Calibration", tables.calibration(report), prose.overlap_note(report)),
        table(tables.overlap(report)),
        *_stages(report),
        f"Run {code(report.run_id)}, {report.created:%Y-%m-%d %H:%M %Z}. "
        "The whole report, with the rows that flipped, is `report.html` in the run's folder.",
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def first_lines(report: Report, told: Summary) -> Iterator[str]:
    """Yield what stands before the first section."""
    yield f"**{escaped(told.headline)}**"
    yield f"{code(report.spec.model.id)}, {escaped(told.subject)}."
    if told.alert:
        yield f"**Alert:** {escaped(told.alert[0])}"
        yield _list(told.alert[1:])
    if told.alert_changes:
        yield "What changed since:"
        yield _list(told.alert_changes)
    yield _list(told.reasons)
    if told.needed:
        yield f"**What would make it conclusive:** {coded(told.needed)}"
    yield escaped(told.margin)
    yield _list(told.caveats)
    yield escaped(" ".join(told.bought))


def artifact_table(report: Report) -> list[dict[str, str]]:
    """Return all rows together, then one row for each metric: of whole tasks, then their parts."""
    metrics = report.comparison.metrics
    whole = [metric for metric in metrics if metric.subtask_of is None]
    pooled = [_pooled(report.comparison.pooled, whole)] if report.comparison.pooled else []
    return pooled + [_cells(metric) for metric in [*whole, *(m for m in metrics if m.subtask_of)]]


def artifact_description(report: Report) -> str:
    """Return the verdict in a line and a small figure, for lists of artifacts."""
    figure = _figure(plots.draw(report, layout="narrow", kind="png"), "Differences")
    told = summarize(report)
    return f"{ICONS[told.status]} {told.status}: {escaped(told.headline)}\n\n{figure}".rstrip()


def _section(name: str, of: tables.Table | None, note: str = "", figure: str = "") -> list[str]:
    return [f"## {name}", figure, table(of), coded(note)] if of else []


def _triage(report: Report) -> list[str]:
    triage = report.arms["quantized"].triage
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
    return ["## The look before the exam", grid(rows)]


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
    known = metric.low is not None and metric.high is not None
    return {
        "Task": metric.task,
        "Metric": metric.metric,
        "Base": wording.score(metric.base.value, metric.unit),
        "Quantized": wording.score(metric.quantized.value, metric.unit),
        "Difference": wording.difference(metric.difference, metric.unit),
        "Interval": wording.interval(metric.low or 0.0, metric.high or 0.0, metric.unit)
        if known
        else "-",
        "p": "-" if metric.p_value is None else wording.p_value(metric.p_value),
        "p (Holm)": "-" if metric.p_adjusted is None else wording.p_value(metric.p_adjusted),
        "Recovery": "-" if metric.recovery is None else wording.share(metric.recovery),
        "Above chance": "-"
        if metric.recovery_above_chance is None
        else wording.share(metric.recovery_above_chance),
        "Rows": str(metric.pairs),
        "Lost": str(metric.lost),
        "Gained": str(metric.gained),
        "Changed": str(metric.changed),
    }


def _pooled(pooled: Pooled, whole: Iterable[MetricComparison]) -> dict[str, str]:
    parts = [metric for metric in whole if metric.primary and metric.task in pooled.tasks]
    return {
        "Task": "All rows",
        "Metric": "pooled",
        "Base": "-",
        "Quantized": "-",
        "Difference": wording.difference(pooled.difference, "points"),
        "Interval": wording.interval(pooled.low, pooled.high, "points"),
        **dict.fromkeys(("p", "p (Holm)", "Recovery", "Above chance"), "-"),
        "Rows": str(pooled.rows),
        "Lost": str(sum(part.lost for part in parts)),
        "Gained": str(sum(part.gained for part in parts)),
        "Changed": str(sum(part.changed for part in parts)),
    }
