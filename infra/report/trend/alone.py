"""Arms that were measured without a baseline beside them, such as endpoints that stand alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from infra.contracts import wording
from infra.contracts.specs import BASELINE
from infra.report.trend.brief import ROWS
from infra.suite.metrics import unit_of_name

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Alone:
    """The runs of one arm under one label."""

    label: str
    arm: str
    tasks: tuple[str, ...]
    rows: tuple[dict[str, str], ...]
    """Run, when it was created, and a score a task; the latest first."""

    runs: int
    """All of them."""


def alone(frame: pd.DataFrame) -> list[Alone]:
    """Return every arm of runs without a baseline, by the first metric of each task.

    Args:
        frame: What `history.read` gives; it has `series.COLUMNS`.
    """
    beside = frame[frame["arm"] == BASELINE]["run_id"]
    rows = frame[frame["primary"].fillna(False) & frame["value"].notna() & frame["created"].notna()]
    rows = rows[~rows["run_id"].isin(beside) & rows["arm"].notna()]
    rows = rows.sort_values("created", kind="stable", ascending=False).astype(object)
    records = cast("list[dict[str, Any]]", rows.where(rows.notna(), None).to_dict("records"))
    found: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    tasks: dict[tuple[str, str], dict[str, None]] = {}
    for row in records:
        arm = row["label"] or "", row["arm"]
        runs = found.setdefault(arm, {})
        created = f"{row['created']:%Y-%m-%d %H:%M}"
        run = runs.setdefault(row["run_id"], {"run": row["run_id"], "created": created})
        run[row["task"] or ""] = _score(row)
        tasks.setdefault(arm, {})[row["task"] or ""] = None
    return [
        Alone(
            label=label,
            arm=arm,
            tasks=tuple(tasks[label, arm]),
            rows=tuple(
                {**dict.fromkeys(("run", "created", *tasks[label, arm]), ""), **run}
                for run in [*runs.values()][:ROWS]
            ),
            runs=len(runs),
        )
        for (label, arm), runs in found.items()
    ]


def text_alone(arms: list[Alone]) -> str:
    """Return all of them for a terminal."""
    blocks = []
    for one in arms:
        columns = ("run", "created", *one.tasks)
        table = [dict(zip(columns, columns, strict=True)), *one.rows]
        widths = {name: max(len(row[name]) for row in table) for name in columns}
        lines = ["  ".join(f"{row[n]:<{widths[n]}}" for n in columns).rstrip() for row in table]
        blocks.append("\n".join([f"{one.label}: {one.arm}, without a baseline", *lines]))
    return "\n\n".join(blocks)


def _score(row: dict[str, Any]) -> str:
    unit = row["unit"] or unit_of_name(row["metric"] or "", row["task"] or "")
    return wording.score(float(row["value"]), "points" if unit == "points" else "value")
