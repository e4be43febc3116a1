"""What came out of a run as `verdict.json`, which other people's pipelines read.

No folder, host or address of this machine stands in it but what an error of a candidate says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from infra.contracts import exit_codes
from infra.contracts.records import (
    EndpointReport,
    FileDigest,
    MetricComparison,
    Pooled,
    Report,
    RowComparison,
    Verdict,
)
from infra.contracts.records.arms import MetricUnit
from infra.contracts.records.verdict_file import (
    Difference,
    JudgedCandidate,
    JudgedRows,
    JudgedTask,
    Standing,
    VerdictFile,
)
from infra.contracts.specs import ModelSpec, VerdictSpec
from infra.judging.comparison import decisive
from infra.judging.verdict.findings import Findings, find, margin_of
from infra.store.content import digest_file, write_atomically

NAME = "verdict.json"


def write(document: VerdictFile, folder: Path) -> None:
    """Write it into a folder, whole or not at all."""
    write_atomically(folder / NAME, document.model_dump_json(indent=2) + "\n")


def of_run(report: Report, page: Path | None = None) -> VerdictFile:
    """Return what came out of a run.

    Args:
        report: The run.
        page: Its page for people.
    """
    spec, candidates = report.spec.verdict, len(report.spec.candidates)
    judged = {pair.name: pair for pair in report.pairs}
    found = [
        candidate(
            name, judged[name].comparison, judged[name].verdict, spec, candidates,
            judged[name].candidate.checkpoint.identity,
        )
        if name in judged
        else JudgedCandidate(name=name, status="NO_RESULT", headline=report.failed[name])
        for name in (*judged, *report.failed)
    ]  # fmt: skip
    status = report.verdict.status if report.spec.candidates else None
    return VerdictFile(
        kind="run",
        run_id=report.run_id,
        label=report.spec.results.label,
        created=report.created,
        status=status or "NOT_JUDGED",
        headline=report.verdict.headline,
        gate=spec.gate,
        exit_code=exit_codes.of_verdict(status, spec.gate),
        baseline=_model(report.spec.baseline.model),
        candidates=tuple(found),
        report=_file(page),
    )


def of_endpoint(report: EndpointReport, headline: str, page: Path | None = None) -> VerdictFile:
    """Return what came out of the evaluation of an endpoint; see `of_run`.

    Args:
        report: The evaluation.
        headline: It in one sentence.
        page: Its page for people.
    """
    spec, judged = report.spec.verdict, report.judged
    name = report.spec.endpoint.model
    status = judged.verdict.status if judged else None
    return VerdictFile(
        kind="endpoint",
        run_id=report.run_id,
        label=report.spec.results.label,
        created=report.created,
        status=status or "NOT_JUDGED",
        headline=headline,
        gate=spec.gate,
        exit_code=exit_codes.of_verdict(status, spec.gate),
        baseline=judged.baseline.run_id if judged else "",
        candidates=(candidate(name, judged.comparison, judged.verdict, spec),) if judged else (),
        report=_file(page),
    )


def candidate(
    name: str,
    comparison: RowComparison,
    verdict: Verdict,
    spec: VerdictSpec,
    candidates: int = 1,
    checkpoint: str | None = None,
) -> JudgedCandidate:
    """Return one candidate.

    Args:
        name: What it is called.
        comparison: With the baseline.
        verdict: Of it.
        spec: Which loss is acceptable.
        candidates: How many are judged together.
        checkpoint: Digest of its files, where they are known.
    """
    spec = spec.among(candidates)
    found = find(
        comparison, spec, verdict.margin_points, sequential=verdict.stopped_after is not None
    )
    return JudgedCandidate(
        name=name,
        status=verdict.status,
        headline=verdict.headline,
        reasons=verdict.reasons,
        needed=verdict.needed,
        checkpoint_sha256=checkpoint,
        all_rows=_all_rows(found.pooled, found, verdict.margin_points) if found.pooled else None,
        tasks=tuple(_tasks(decisive(comparison), found, spec)),
    )


def _all_rows(pooled: Pooled, found: Findings, margin: float) -> JudgedRows:
    status: Standing = "PASS" if found.within else "FAIL" if found.shown else "INCONCLUSIVE"
    return JudgedRows(
        status=status,
        difference=Difference(
            value=100 * pooled.difference,
            low=100 * pooled.low,
            high=100 * pooled.high,
            confidence=pooled.confidence,
        ),
        limit=100 * pooled.bound,
        margin=margin,
        rows=pooled.rows,
        tasks=pooled.tasks,
    )


def _tasks(
    tasks: Sequence[MetricComparison], found: Findings, spec: VerdictSpec
) -> Iterator[JudgedTask]:
    for task in tasks:
        scale = 100 if task.unit == "points" else 1
        yield JudgedTask(
            task=task.task,
            metric=task.metric,
            status=_standing(task, found),
            unit="points" if task.unit == "points" else _own_unit(task),
            higher_is_better=task.baseline.higher_is_better,
            baseline=scale * task.baseline.value,
            candidate=scale * task.candidate.value,
            difference=Difference(
                value=scale * task.difference,
                low=None if task.low is None else scale * task.low,
                high=None if task.high is None else scale * task.high,
                confidence=task.confidence,
            ),
            margin=margin_of(task, spec),
            rows=task.questions,
            lost=task.lost,
            gained=task.gained,
        )


def _own_unit(task: MetricComparison) -> MetricUnit:
    """Return the unit of a metric without points; one that is declared to have some has none."""
    declared = task.baseline.unit
    return declared if declared and declared != "points" else "value"


def _standing(task: MetricComparison, found: Findings) -> Standing:
    if task in found.lost:
        return "FAIL"
    return "INCONCLUSIVE" if task in found.hindered else "PASS"


def _model(model: ModelSpec) -> str:
    return Path(model.id).name if model.source == "local" else model.id


def _file(page: Path | None) -> FileDigest | None:
    return digest_file(page) if page else None
