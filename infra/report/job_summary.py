"""A verdict as the summary of a CI job: Markdown that says in one look what came out."""

from __future__ import annotations

from collections.abc import Iterator

from infra.contracts import wording
from infra.contracts.records.verdict_file import JudgedCandidate, JudgedTask, VerdictFile
from infra.report.grid import grid
from infra.report.markdown import ICONS
from infra.report.text import code, coded, escaped

_ICONS = {**ICONS, "NO_RESULT": "⚠️", "NOT_JUDGED": "📏"}


def job_summary(document: VerdictFile) -> str:
    """Return the summary.

    Args:
        document: What came out.
    """
    parts = [
        f"## {_ICONS[document.status]} {document.status}: {code(document.label)}",
        f"**{escaped(document.headline)}**",
        grid([_row(one) for one in document.candidates]),
        *(part for one in document.candidates for part in _details(one)),
        _origin(document),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _row(one: JudgedCandidate) -> dict[str, str]:
    rows = one.all_rows
    bounded = rows and rows.difference.low is not None and rows.difference.high is not None
    return {
        "Candidate": one.name,
        "Verdict": f"{_ICONS[one.status]} {one.status}",
        "Difference, points": wording.difference(rows.difference.value / 100, "points")
        if rows
        else "-",
        "Interval": wording.interval(
            (rows.difference.low or 0.0) / 100, (rows.difference.high or 0.0) / 100, "points"
        )
        if rows and bounded
        else "-",
        "Margin": f"{rows.margin:g}" if rows else "-",
        "Rows": f"{rows.rows:,}" if rows else "-",
    }


def _details(one: JudgedCandidate) -> Iterator[str]:
    yield f"### {code(one.name)}"
    yield escaped(one.headline)
    yield grid([_task(task) for task in one.tasks])
    yield "\n".join(f"- {escaped(reason)}" for reason in one.reasons)
    if one.needed:
        yield f"**What would make it conclusive:** {coded(one.needed)}"


def _task(task: JudgedTask) -> dict[str, str]:
    scale: float = 100 if task.unit == "points" else 1
    unit: wording.Unit = "points" if task.unit == "points" else "value"
    of = task.difference
    ends = (
        "-"
        if of.low is None or of.high is None
        else wording.interval(of.low / scale, of.high / scale, unit)
    )
    return {
        "Task": task.task,
        "": _ICONS[task.status],
        "Metric": task.metric,
        "Baseline": wording.score(task.baseline / scale, unit),
        "Candidate": wording.score(task.candidate / scale, unit),
        "Difference": wording.difference(of.value / scale, unit),
        "Interval": ends,
        "Margin": "-" if task.margin is None else f"{task.margin:g}",
        "Rows": f"{task.rows:,}",
        "Lost / gained": f"{task.lost:,} / {task.gained:,}",
    }


def _origin(document: VerdictFile) -> str:
    page = f" The whole report is {code(document.report.name)}." if document.report else ""
    beside = f" beside {code(document.baseline)}" if document.baseline else ""
    return f"Run {code(document.run_id)}{beside}, {document.created:%Y-%m-%d %H:%M %Z}.{page}"
