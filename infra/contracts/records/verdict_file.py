"""`verdict.json`: what came out of a run, for programs.

It is small and stays as it is: a field is added, none changes its meaning, and whatever breaks that
raises `schema_version`. The same as JSON Schema is `docs/verdict.schema.json`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from infra.contracts.records.arms import MetricUnit
from infra.contracts.records.record import FileDigest, Record

Standing = Literal["PASS", "FAIL", "INCONCLUSIVE"]


class Difference(Record):
    """Candidate minus baseline, with its paired interval, in a unit that stands beside it."""

    value: float
    low: float | None
    high: float | None
    """Ends of the two-sided interval; null where the rows give no basis for one."""

    confidence: float


class JudgedRows(Record):
    """All rows of all tasks in points, each counting once."""

    status: Standing
    """FAIL and PASS as in the verdict; INCONCLUSIVE if the rows show neither."""

    unit: Literal["points"] = "points"
    """Percentage points: 100 for all rows right."""

    difference: Difference
    """More is better, also where a task's own metric is better when lower."""

    limit: float
    """One-sided lower limit of the difference: what the margin is held against."""

    margin: float
    """Loss that is acceptable."""

    rows: int
    tasks: tuple[str, ...]


class JudgedTask(Record):
    """One task by its primary metric. All its numbers are in `unit`."""

    task: str
    metric: str
    """`<metric>,<filter>`."""

    status: Standing
    """FAIL if the task alone fails the candidate; INCONCLUSIVE if it alone keeps it from a PASS;
    else PASS: it has nothing against the candidate."""

    unit: MetricUnit
    """`points`: hundredths, 100 for all rows right. `value`: the metric's own."""

    higher_is_better: bool
    baseline: float
    candidate: float
    difference: Difference
    margin: float | None
    """Loss that the task may have; null where the metric has no margin."""

    rows: int
    """Questions, however often each was asked."""

    lost: int
    gained: int
    """Rows that the candidate does worse, and better."""


class JudgedCandidate(Record):
    """One candidate held against the baseline."""

    name: str
    status: Literal["PASS", "FAIL", "INCONCLUSIVE", "NO_RESULT"]
    headline: str
    """One sentence; why there is no result, where there is none."""

    reasons: tuple[str, ...] = ()
    needed: str = ""
    """What would make it conclusive; empty if it is."""

    checkpoint_sha256: str | None = None
    """Digest of the checkpoint's files, as the report has it; null where nobody here saw them."""

    all_rows: JudgedRows | None = None
    """Null if no task has points, or there is no result."""

    tasks: tuple[JudgedTask, ...] = ()


class VerdictFile(Record):
    """What came out of a run, or of a comparison of results that others made."""

    schema_version: Literal[1] = 1
    kind: Literal["run", "endpoint", "comparison"]
    run_id: str
    label: str
    created: datetime
    status: Literal["PASS", "FAIL", "INCONCLUSIVE", "NOT_JUDGED"]
    """Of all candidates together, as `gate` has it. NOT_JUDGED: there was nothing to judge."""

    headline: str
    """One sentence."""

    gate: Literal["all", "any", "none"]
    """Which candidates have to pass; `none`: the verdict is only reported."""

    exit_code: Literal[0, 3, 4]
    """With which the command line ends on it."""

    baseline: str
    """What the candidates are held against."""

    candidates: tuple[JudgedCandidate, ...]
    report: FileDigest | None = None
    """The page for people, beside this file; null where there is none."""

    sources: tuple[FileDigest, ...] = ()
    """Of a comparison, the files that were compared: all of the baseline, then all of the
    candidate."""
