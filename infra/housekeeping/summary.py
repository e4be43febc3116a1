"""What is freed and kept, as one table for people."""

from __future__ import annotations

from collections.abc import Iterable

from infra.housekeeping.plan import Item, Plan
from infra.housekeeping.policy import ALL


def table(plan: Plan) -> str:
    """Return one line for each kind of what goes or stays, and each reason."""
    rows = [("", "what", "count", "bytes", "why")]
    for free in (True, False):
        groups = _grouped(item for item in plan.items if item.free == free)
        for (kind, why), items in sorted(groups.items(), key=lambda one: _place(*one[0])):
            size = sum(plan.sizes[item.path] for item in items)
            rows.append(("free" if free else "keep", kind, f"{len(items):,}", f"{size:,}", why))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  "
        f"{row[3]:>{widths[3]}}  {row[4]}".rstrip()
        for row in rows
    )


def _grouped(items: Iterable[Item]) -> dict[tuple[str, str], list[Item]]:
    found: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        found.setdefault((item.kind, item.why), []).append(item)
    return found


def _place(kind: str, why: str) -> tuple[int, str]:
    return ALL.index(kind), why
