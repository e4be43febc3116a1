"""How runs of a kind went over time: a control chart for every task, as a page and as a table.

control    which run is further from the earlier ones than runs usually are?
series     from the table of runs to series that can be compared
plots      the charts
page       all of it as one page, `history.html` beside the runs
brief      the same in brief, for Prefect and the terminal
"""

from __future__ import annotations

from infra.report.trend.brief import markdown, table, text
from infra.report.trend.control import Judged
from infra.report.trend.page import write
from infra.report.trend.series import COLUMNS, Kind, Point, Trend, kind_of, trends

__all__ = [
    "COLUMNS",
    "Judged",
    "Kind",
    "Point",
    "Trend",
    "kind_of",
    "markdown",
    "table",
    "text",
    "trends",
    "write",
]
