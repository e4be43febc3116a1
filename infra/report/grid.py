"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from infra.report.tables import Table
from infra.report.text import escaped


def table(of: Table | None) -> str:
    """Return a table; empty without one."""
    return grid(of.rows) if of else ""


def grid(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows of cells under the heads of the first row; empty without rows."""
    if not rows:
        return ""
    head = list(rows[0])
    lines = [_line(head), _line(["---", *["---:"] * (len(head) - 1)])]
    lines += [_line(escaped(cell) for cell in row.values()) for row in rows]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
