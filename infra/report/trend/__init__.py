"""How runs of a kind went over time: a control chart for every task, as a page and as a table.

control    which run is further from the earlier ones than runs usually are?
series     from the table of runs to series that can be compared
plots      the charts
page       all of it as one page, `history.html` beside the runs
alone      arms without a baseline beside them: a table of scores
brief      the same in brief, for Prefect and the terminal
rows, endpoint_rows   what the history keeps of a run
"""

from __future__ import annotations

from infra.report.trend.alone import alone, text_alone
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
    "alone",
    "kind_of",
    "markdown",
    "table",
    "text",
    "text_alone",
    "trends",
    "write",
]
