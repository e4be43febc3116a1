"""All runs as one self-contained page: no script, no network, every text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.report.figures import data_uri
from infra.report.trend import plots
from infra.report.trend.alone import alone
from infra.report.trend.brief import ROWS, out_of_control, scored, table
from infra.report.trend.control import FEWEST
from infra.report.trend.series import COLUMNS, Kind, Trend, trends
from infra.store import history
from infra.store.content import write_atomically

NAME = "history.html"

_CHARTS = 12
"""Charts on the page: those of the kinds that ran last. All others have their table."""

_KINDS = 20


@dataclass(frozen=True, slots=True)
class _Chart:
    trend: Trend
    picture: str
    """Its address; empty if this chart is not drawn."""

    last: str
    out: tuple[str, ...]
    """What is out of control, the latest first."""


def write(folder: Path) -> Path:
    """Write `history.html` anew from the history of a folder; return its path.

    Args:
        folder: The folder that holds the runs and their history.
    """
    page = folder / NAME
    write_atomically(page, render(folder))
    return page.absolute()


def render(folder: Path) -> str:
    """Return the page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    frame = history.read(folder, COLUMNS)
    environment = Environment(
        loader=PackageLoader("infra.report.trend"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    by_kind: dict[Kind, list[Trend]] = {}
    for trend in trends(frame, most=_KINDS):
        by_kind.setdefault(trend.kind, []).append(trend)
    charts_left = _CHARTS
    kinds = []
    for kind, members in by_kind.items():
        charts = [_chart(trend, drawn=place < charts_left) for place, trend in enumerate(members)]
        charts_left = max(0, charts_left - len(members))
        kinds.append({
            "kind": kind,
            "recipe_name": members[0].recipe_name,
            "charts": charts,
            "rows": _linked(table(members), folder),
            "flagged": any(chart.out for chart in charts),
            "tasks": [trend.task for trend in members],
            "runs": len({point.run_id for trend in members for point in trend.points}),
        })  # fmt: skip
    return environment.get_template("history.html.jinja").render(
        kinds=kinds,
        left_out=len(frame.groupby([*Kind._fields])) - len(kinds),
        alone=[(one, _linked(one.rows, folder)) for one in alone(frame)],
        runs=int(frame["run_id"].nunique()),
        most_rows=ROWS,
        fewest=FEWEST,
    )


def _chart(trend: Trend, *, drawn: bool) -> _Chart:
    picture = data_uri(plots.draw(trend), "svg") if drawn else ""
    out = [
        f"{point.created:%Y-%m-%d}, {what.partition(', ')[2]}"
        for point in reversed(trend.points)
        for what in out_of_control(trend, point)
    ]
    return _Chart(trend, picture, scored(trend, trend.points[-1]), tuple(out))


def _linked(rows: Sequence[dict[str, str]], folder: Path) -> list[tuple[dict[str, str], str]]:
    """Return each row with the address of its report; empty where there is none (any more)."""
    return [
        (row, f"{row['run']}/report.html" if _has_report(folder, row["run"]) else "")
        for row in rows
    ]


def _has_report(folder: Path, run: str) -> bool:
    # A name with a slash is none that Assay gave; it would lead out of the folder.
    return "/" not in run and (folder / run / "report.html").is_file()
