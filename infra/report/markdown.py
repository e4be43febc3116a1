"""The report in brief: Markdown and a table of plain cells, as the Prefect UI shows them.

The UI strips inline SVG and styles, so the figure stands in the text as a PNG on white, which
both of its themes show well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from infra import wording
from infra.comparison import recipe_name
from infra.contracts.records import ArmResult, MetricComparison, Report
from infra.report import plots
from infra.report.engines import engine_notes

_STATUS = {"loss": "Loss", "no-loss-shown": "No loss shown", "gain": "Gain"}


def artifact_markdown(report: Report) -> str:
    """Return verdict, metrics, figure, sizes and times."""
    arms = _, quantized = report.arms["base"], report.arms["quantized"]
    speeds = [arm.speed for arm in arms]
    parts = [
        f"# {_STATUS[report.verdict.status]}",
        f"**{_escaped(report.verdict.headline)}.**",
        f"{_code(report.spec.model.id)}, as it came and as {recipe_name(report.spec.quantization)}"
        f" in groups of {report.spec.quantization.group_size},"
        f" both served by vLLM {_escaped(quantized.server.version)}"
        f" on {_escaped(quantized.server.device)}.",
        "## What it cost",
        _figure(report, "wide"),
        _table(artifact_table(report)),
        f"Interval: {100 * report.comparison.metrics[0].confidence:g} % for quantized minus base, "
        "paired by row, ends rounded outwards, not corrected for looking at several tasks.",
        *map(_escaped, engine_notes(report)),
        "## What it bought",
        _table(
            [
                _row("Weights on disk", *(wording.size(a.checkpoint.size_bytes) for a in arms)),
                _row("Engine start", *(wording.duration(s.startup_seconds) for s in speeds)),
                _row("Documents/s", *(f"{s.documents_per_second:.3g}" for s in speeds)),
                _row("Linear kernel", *(a.server.kernel or "-" for a in arms)),
            ]
        ),
        *_triage(quantized),
        "## Where the time went",
        _table(
            [
                {
                    "Stage": name,
                    "Time": wording.duration(seconds),
                    "Reused": "yes" if name in report.reused else "",
                }
                for name, seconds in report.timings.items()
            ]
        ),
        f"Reused from earlier runs: {_escaped(', '.join(report.reused) or 'nothing')}.",
        f"Run {_code(report.run_id)}, {report.created:%Y-%m-%d %H:%M %Z}. "
        "The whole report, with the rows that flipped, is `report.html` in the run's folder.",
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def artifact_table(report: Report) -> list[dict[str, str]]:
    """Return one row for each metric: those of whole tasks first, then those of their parts."""
    metrics = report.comparison.metrics
    whole = [metric for metric in metrics if metric.subtask_of is None]
    return [_cells(metric) for metric in [*whole, *(m for m in metrics if m.subtask_of)]]


def artifact_description(report: Report) -> str:
    """Return the verdict in a line and a small figure, for lists of artifacts."""
    return f"{_escaped(report.verdict.headline)}.\n\n{_figure(report, 'narrow')}".rstrip()


def _triage(quantized: ArmResult) -> list[str]:
    if quantized.triage is None:
        return []
    rows = [
        {
            "Check": check.name,
            "Found": check.value,
            "Wanted": check.wanted,
            "Passed": "yes" if check.ok else "no",
        }
        for check in quantized.triage.checks
    ]
    return ["## The look before the exam", _table(rows)]


def _figure(report: Report, layout: plots.Layout) -> str:
    image = plots.draw(report.comparison, layout=layout, kind="png")
    return f"![Differences with their intervals]({plots.data_uri(image, 'png')})" if image else ""


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
        "Rows": str(metric.pairs),
        "Lost": str(metric.lost),
        "Gained": str(metric.gained),
        "Changed": str(metric.changed),
    }


def _row(what: str, base: str, quantized: str) -> dict[str, str]:
    return {"": what, "Base": base, "Quantized": quantized}


def _table(rows: Sequence[dict[str, str]]) -> str:
    if not rows:
        return ""
    head = list(rows[0])
    lines = [_line(head), _line(["---", *["---:"] * (len(head) - 1)])]
    lines += [_line(_escaped(cell) for cell in row.values()) for row in rows]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _code(text: str) -> str:
    return f"`{' '.join(text.replace('`', ' ').split())}`"


def _escaped(text: str) -> str:
    """Return a text that Markdown shows as it is, in one line."""
    line = " ".join(text.split())
    for mark in "\\`*_[]<>|#":
        line = line.replace(mark, f"\\{mark}")
    return line
