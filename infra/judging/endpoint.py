"""What an endpoint scored, with intervals; and held against an earlier run, row by row.

It is judged as a candidate is, by the same functions; only where its baseline comes from differs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from infra.contracts.errors import ComparisonError
from infra.contracts.records import Power, Report, RowComparison, TaskScores, Verdict
from infra.contracts.records.endpoint import EarlierRun, EndpointReport, Interval
from infra.contracts.specs import EndpointRunSpec, EvaluationSpec
from infra.judging import power
from infra.judging.comparison import Rules, compare_tasks
from infra.judging.pairing import RunRows, paired_rows
from infra.judging.statistics import CONFIDENCE
from infra.judging.statistics.alone import mean_alone
from infra.judging.verdict import decide
from infra.suite.rows import read_rows

_SAME = 1e-9
_CONDITIONS = ("chat_template", "fewshot_as_multiturn", "system_instruction", "seed")
ENDPOINT = "endpoint"
"""Name of the arm, in the folder of its rows."""

_ITS_OWN = "its own"
"""Instead of a digest, where prompts travelled as text and no tokenizer of ours wrote them."""


def intervals(tasks: Mapping[str, TaskScores], folder: Path) -> Iterator[tuple[str, Interval]]:
    """Yield each task with the interval of its primary metric, where its rows give one.

    Args:
        tasks: The scores.
        folder: That of the run, which holds the rows.
    """
    for name, task in tasks.items():
        values = [
            value
            for row in read_rows(folder / task.samples, name)
            if (value := row.score(task.primary_metric)) is not None
        ]
        metric = task.metrics.get(task.primary_metric)
        if metric is None or not values or abs(sum(values) / len(values) - metric.value) > _SAME:
            continue  # it is no mean of rows
        if found := mean_alone(values):
            low, high, method = found
            yield name, Interval(low=low, high=high, confidence=CONFIDENCE, method=method)


def earlier_run(folder: Path) -> EarlierRun:
    """Return what a finished run evaluated: its baseline, or the endpoint.

    Args:
        folder: That of the run, which holds the rows.

    Raises:
        ComparisonError: It is no finished run whose report can be checked.
    """
    path = folder / "report.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        report = (
            EndpointReport.model_validate(document)
            if is_of_endpoint(document)
            else Report.model_validate(document)
        )
    except FileNotFoundError as error:
        raise ComparisonError(
            f"{folder} is no folder of a finished run.",
            cause="There is no report.json in it.",
            remedy="Set `baseline` to a folder like runs/<run-id>.",
            field="rows",
        ) from error
    except (OSError, ValidationError, ValueError) as error:
        raise ComparisonError(
            f"{path} cannot be read as the report of a run.",
            cause=str(error).splitlines()[0],
            remedy="Set `baseline` to the folder of another run, or evaluate that one again.",
            field="rows",
        ) from error
    if report.receipt is None:
        raise ComparisonError(
            f"{path} holds no receipt, so nobody can tell whether its rows are what they were.",
            remedy="Evaluate the baseline again.",
            field="rows",
        )
    if isinstance(report, EndpointReport):
        what, tasks = f"{report.found.model} at {report.found.url}", report.tasks
    else:
        server = report.baseline.server
        what = f"{report.baseline.checkpoint.model} on {server.engine} {server.version}"
        tasks = report.baseline.tasks
    return EarlierRun(
        run_id=report.run_id,
        what=what,
        seal=report.receipt.seal,
        by_word=isinstance(report, EndpointReport),
        tasks=tasks,
    )


def is_of_endpoint(document: object) -> bool:
    """Return whether a report's JSON is that of an endpoint."""
    return isinstance(document, dict) and "found" in document and "arms" not in document


def require_tasks(earlier: EarlierRun, tasks: Iterable[str]) -> None:
    """Refuse an earlier run that has no rows of a task.

    Raises:
        ComparisonError: It names the tasks.
    """
    if lacking := [name for name in tasks if name not in earlier.tasks]:
        raise ComparisonError(
            f"The run {earlier.run_id} has no rows of {', '.join(lacking)}.",
            cause="Its suite was another.",
            remedy="Evaluate the same tasks in both, or leave `baseline` out.",
            field="rows",
        )


def require_alike(earlier: EarlierRun, spec: EvaluationSpec) -> None:
    """Refuse an earlier run whose tasks were asked under other conditions.

    Args:
        earlier: The run.
        spec: The conditions here.

    Raises:
        ComparisonError: They differ; it says in what.
    """
    for line in spec.tasks:
        task = earlier.tasks.get(line.name)
        conditions = task.conditions if task else {}
        here = {
            "limit": line.limit,
            "max_gen_toks": line.max_gen_toks,
            **{name: getattr(spec, name) for name in _CONDITIONS},
        }
        for name, value in here.items():
            if name in conditions and conditions[name] != value:
                raise ComparisonError(
                    f"{line.name} was asked with {name}={conditions[name]!r} in the run "
                    f"{earlier.run_id}, and would be with {value!r} here.",
                    cause="Rows can be compared only where they were asked alike.",
                    remedy="Set it as it was there, or leave `baseline` out.",
                    field=name,
                    task=line.name,
                )


def require_same_rows(
    baseline: TaskScores, endpoint: TaskScores, folder: Path, samples: Path
) -> None:
    """Refuse a baseline whose rows are not those that are about to be asked.

    Args:
        baseline: What the earlier run scored on a task.
        endpoint: The same task, put as it will be, its answers left out.
        folder: That of the earlier run.
        samples: File of the rows that are put.

    Raises:
        ComparisonError: It says in what they differ.
    """
    theirs = baseline.model_copy(update={"samples": str(folder.absolute() / baseline.samples)})
    ours = endpoint.model_copy(update={"samples": str(samples.absolute())})
    [one], [other] = (_with_tokenizer({"": task}).values() for task in (theirs, ours))
    paired_rows(one, other, folder)


def compared(
    baseline: Mapping[str, TaskScores],
    endpoint: Mapping[str, TaskScores],
    spec: EndpointRunSpec,
    folder: Path,
    rules: Rules | None = None,
) -> RowComparison:
    """Return an endpoint's rows beside those of the baseline, each its own control.

    Where no tokenizer of ours wrote the prompts of one of them, rows are paired by question.

    Args:
        baseline: Task → what the earlier run scored.
        endpoint: Task → what the endpoint scored.
        spec: The run.
        folder: That of the endpoint's run, which holds the rows of both.
        rules: Of another version, for a report that it made.

    Raises:
        ComparisonError: They were not asked alike.
    """
    verdict = spec.judged_verdict
    return compare_tasks(
        _with_tokenizer(baseline), _with_tokenizer(endpoint), RunRows(folder), verdict.confidence,
        rules, verdict.margins,
    )  # fmt: skip


def _with_tokenizer(tasks: Mapping[str, TaskScores]) -> dict[str, TaskScores]:
    return {
        name: task if task.tokenizer else task.model_copy(update={"tokenizer": _ITS_OWN})
        for name, task in tasks.items()
    }


def judged(comparison: RowComparison, spec: EndpointRunSpec, plan: Power | None) -> Verdict:
    """Return the verdict on an endpoint.

    Args:
        comparison: With the baseline.
        spec: The run.
        plan: Made before anything was spent; none if there was nothing to plan.
    """
    verdict = spec.judged_verdict
    margin, widened_from = power.margin(verdict, plan) if plan else (verdict.margin_points, None)
    return decide(
        comparison,
        verdict,
        what=spec.endpoint.model,
        margin_points=margin,
        widened_from=widened_from,
    )
