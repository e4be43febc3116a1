"""The history in brief: a table for Prefect, the same as Markdown, and as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from infra.contracts import wording
from infra.report.trend.control import Judged
from infra.report.trend.series import Point, Trend

ROWS = 20
"""Runs in a table: the latest ones."""

_FLAGS = {
    "above": "above the limits",
    "below": "below the limits",
    "run above": "eighth in a row above the mean",
    "run below": "eighth in a row below the mean",
}


def table(trends: Sequence[Trend]) -> list[dict[str, str]]:
    """Return one row a candidate of a run, the latest first, with a column a task.

    Args:
        trends: Of one kind.
    """
    tasks = [trend.task for trend in trends]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    ages = {}
    for trend in trends:
        for point in trend.points:
            candidate = point.run_id, point.arm
            row = rows.setdefault(
                candidate,
                {
                    "run": point.run_id,
                    "created": f"{point.created:%Y-%m-%d %H:%M}",
                    "verdict": point.verdict,
                    **dict.fromkeys(tasks, ""),
                    "out of control": "",
                },
            )
            ages[candidate] = point.created
            row[trend.task] = scored(trend, point)
            flags = "; ".join(out_of_control(trend, point))
            row["out of control"] = "; ".join(filter(None, [row["out of control"], flags]))
    latest = sorted(rows, key=lambda one: (ages[one], one), reverse=True)[:ROWS]
    return [rows[one] for one in latest]


def markdown(trends: Sequence[Trend]) -> str:
    """Return the table as Markdown; empty without runs."""
    rows = table(trends)
    if not rows:
        return ""
    columns = list(rows[0])
    lines = [_line(columns), _line("---" for _ in columns)]
    lines += [_line(row[column] for column in columns) for row in rows]
    return "\n".join(lines) + "\n"


def text(trends: Sequence[Trend]) -> str:
    """Return all kinds for a terminal, the latest run first."""
    blocks = []
    for kind in dict.fromkeys(trend.kind for trend in trends):
        own = [trend for trend in trends if trend.kind == kind]
        rows = table(own)
        columns = [name for name in rows[0] if any(row[name] for row in rows)]
        widths = {c: max(len(c), *(len(row[c]) for row in rows)) for c in columns}
        lines = [f"{kind.label}: {kind.model}, {own[0].recipe_name}"]
        for row in [dict(zip(columns, columns, strict=True)), *rows]:
            lines.append("  ".join(f"{row[c]:<{widths[c]}}" for c in columns).rstrip())
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def scored(trend: Trend, point: Point) -> str:
    """Return `61.3 → 59.8 % (−1.5)`."""
    unit: wording.Unit = "points" if trend.percent else "value"
    baseline = wording.score(point.baseline, unit).removesuffix(" %")
    change = wording.difference(point.difference, unit)
    return f"{baseline} → {wording.score(point.candidate, unit)} ({change})"


def out_of_control(trend: Trend, point: Point) -> list[str]:
    """Return what is out of control in one run: `gsm8k, candidate: below the limits`."""
    named: Iterable[tuple[str, Judged]] = (
        ("baseline", point.judged_baseline),
        ("candidate", point.judged_candidate),
        ("difference", point.judged_difference),
    )
    return [f"{trend.task}, {name}: {_FLAGS[one.flag]}" for name, one in named if one.flag]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
