"""Made-up histories: runs of a kind, one a day, written as a run writes them."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from infra.contracts.records import Report
from infra.report.trend.rows import rows_of
from infra.store import history


def write_history(folder: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Give a folder this history and no other."""
    (folder / history.DATABASE).unlink(missing_ok=True)
    with (folder / history.NAME).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(history.COLUMNS), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    assert history.take_over(folder) is None
    return folder


def days(
    report: Report,
    candidate: dict[str, list[float]],
    *,
    name: str = "day",
    before: bool = True,
    reused: frozenset[int] = frozenset(),
    **changes: Any,
) -> list[dict[str, Any]]:
    """Return rows of one run a day, the last one the day before the report (or from it on).

    Args:
        report: Has all other columns.
        candidate: Task → what the candidate scored on each day.
        name: What the runs are called, with the day's number.
        before: Whether the days are those before the report.
        reused: Days whose scores were taken over.
        changes: Columns that are other than in the report.
    """
    count = max(map(len, candidate.values()))
    rows = []
    for day in range(count):
        created = report.created + timedelta(days=day - count if before else day)
        for row in rows_of(report):
            row |= {
                "run_id": f"{name}-{day:04d}", "created": created.isoformat(),
                "reused": day in reused, **changes,
            }  # fmt: skip
            if row["arm"] == "quantized" and row["task"] in candidate:
                row["value"] = candidate[str(row["task"])][day]
            rows.append(row)
    return rows
