"""Many models in one table: as a page, as CSV and as plain cells."""

from __future__ import annotations

import csv
import io

from infra.contracts import wording
from infra.contracts.records.matrix import MatrixReport, MatrixRow
from infra.report.ranking import score_with_error
from infra.report.text import printable


def tasks_of(report: MatrixReport) -> list[str]:
    """Return the tasks of all rows, in the order in which they come up."""
    return list(dict.fromkeys(task for row in report.rows for task in row.scores))


def cells(report: MatrixReport) -> list[dict[str, str]]:
    """Return the table as plain cells."""
    return [
        {
            "Model": row.model,
            "Arm": row.arm,
            "Parameters": _parameters(row.parameters),
            **{task: _score(row, task) for task in tasks_of(report)},
            "Verdict": row.status or "-",
            "Loss, points": _loss(row),
            "On disk": wording.size(row.size_bytes),
            "Tokens a second": _or_dash(row.tokens_per_second),
        }
        for row in report.rows
    ]


def csv_text(report: MatrixReport) -> str:
    """Return the table for programs: numbers as they are, one row an arm."""
    tasks = tasks_of(report)
    stream = io.StringIO()
    head = ["model", "arm", "what", "parameters"]
    for task in tasks:
        head += [task, f"{task} stderr", f"{task} metric"]
    head += ["verdict", "loss_points", "low_points", "high_points", "size_bytes",
             "tokens_per_second", "report"]  # fmt: skip
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    for row in report.rows:
        line: list[object] = [row.model, row.arm, row.what, row.parameters]
        for task in tasks:
            score = row.scores.get(task)
            line += [score.value.value, score.value.stderr, score.metric] if score else [None] * 3
        line += [row.status, row.loss_points, row.low_points, row.high_points, row.size_bytes,
                 row.tokens_per_second, row.report]  # fmt: skip
        writer.writerow(line)
    return stream.getvalue()


def render(report: MatrixReport) -> str:
    """Return the page: no script, no network, every text escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("infra.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=printable,
    )
    return environment.get_template("matrix.html.jinja").render(
        report=report, rows=list(zip(report.rows, cells(report), strict=True))
    )


def _score(row: MatrixRow, task: str) -> str:
    score = row.scores.get(task)
    return score_with_error(score.value, score.metric, task) if score else "-"


def _loss(row: MatrixRow) -> str:
    if row.loss_points is None or row.low_points is None or row.high_points is None:
        return "-"
    return wording.loss(row.loss_points, row.low_points, row.high_points)


def _parameters(count: int | None) -> str:
    if count is None:
        return "-"
    return f"{count / 1e9:.2f} B" if count >= 1e8 else f"{count / 1e6:.1f} M"


def _or_dash(value: float | None) -> str:
    return "-" if value is None else wording.number(value)
