"""What an endpoint scored, with intervals; and beside the rows of an earlier run, row by row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from infra.contracts.errors import ComparisonError
from infra.contracts.records import TaskScores
from infra.contracts.records.endpoint import Beside, Interval
from infra.contracts.specs import EvaluationSpec
from infra.judging.statistics import CONFIDENCE, effect_of
from infra.judging.statistics.alone import mean_alone
from infra.suite.rows import Row, read_rows

_SAME = 1e-9
_CONDITIONS = ("chat_template", "fewshot_as_multiturn", "system_instruction", "seed")
ENDPOINT = "endpoint"
"""Name of the arm, in the folder of its rows."""


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


def rows_of_run(folder: Path, tasks: Iterable[str]) -> dict[str, Path]:
    """Return the rows of the baseline of a finished run, or of the endpoint it evaluated.

    Args:
        folder: That of the run.
        tasks: Tasks whose rows are wanted.

    Raises:
        ComparisonError: It is no finished run, or has no rows of a task.
    """
    if not (folder / "report.json").is_file():
        raise ComparisonError(
            f"{folder} is no folder of a finished run.",
            cause="There is no report.json in it.",
            remedy="Set `baseline` to a folder like runs/<run-id>.",
            field="rows",
        )
    samples = folder / "samples"
    arm = next((name for name in ("baseline", ENDPOINT) if (samples / name).is_dir()), None)
    found = {name: samples / (arm or "baseline") / f"{name}.jsonl" for name in tasks}
    if lacking := [name for name, path in found.items() if not path.is_file()]:
        raise ComparisonError(
            f"The run in {folder} has no rows of {', '.join(lacking)}.",
            cause="Its suite was another.",
            remedy="Evaluate the same tasks in both, or leave `baseline` out.",
            field="rows",
        )
    return found


def require_alike(folder: Path, spec: EvaluationSpec) -> None:
    """Refuse a finished run whose tasks were asked under other conditions.

    Args:
        folder: That of the run.
        spec: The conditions here.

    Raises:
        ComparisonError: They differ; it says in what.
    """
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    theirs = report.get("tasks") or report.get("arms", {}).get("baseline", {}).get("tasks", {})
    for line in spec.tasks:
        conditions = theirs.get(line.name, {}).get("conditions", {})
        here = {
            "limit": line.limit,
            "max_gen_toks": line.max_gen_toks,
            **{name: getattr(spec, name) for name in _CONDITIONS},
        }
        for name, value in here.items():
            if name in conditions and conditions[name] != value:
                raise ComparisonError(
                    f"{line.name} was asked with {name}={conditions[name]!r} in the run in "
                    f"{folder}, and would be with {value!r} here.",
                    cause="Rows can stand beside each other only where they were asked alike.",
                    remedy="Set it as it was there, or leave `baseline` out.",
                    field=name,
                    task=line.name,
                )


def title_of_run(folder: Path) -> str:
    """Return what a finished run evaluated as its baseline, for people."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    run = str(report.get("run_id", folder.name))
    if endpoint := report.get("found"):
        return f"{endpoint['model']} at {endpoint['url']} (run {run})"
    arm = report.get("arms", {}).get("baseline", {})
    model, server = arm.get("checkpoint", {}).get("model"), arm.get("server", {})
    return f"{model} on {server.get('engine')} {server.get('version')} (run {run})"


def beside(name: str, task: TaskScores, ours: Path, baseline: Path) -> Beside:
    """Return an endpoint's rows beside those of another run, each its own control.

    Args:
        name: The task.
        task: What the endpoint scored.
        ours: File of its rows.
        baseline: File of the other's.

    Raises:
        ComparisonError: They are not rows of the same questions.
    """
    metric = task.primary_metric
    theirs = {(row.task, row.doc_id): row for row in read_rows(baseline, name)}
    pairs: list[tuple[Row, Row]] = []
    for row in read_rows(ours, name):
        other = theirs.get((row.task, row.doc_id))
        if other is None or other.doc_hash != row.doc_hash or other.target_hash != row.target_hash:
            raise ComparisonError(
                f"The rows of {name} are not those of the baseline.",
                cause=f"Document {row.doc_id} of {row.task} is another there, or is missing.",
                remedy="Evaluate the same rows, with the same limit, in both.",
                field="rows",
                task=name,
                document=row.doc_id,
            )
        pairs.append((other, row))
    scores = [(other.score(metric), row.score(metric)) for other, row in pairs]
    whole = [(one, two) for one, two in scores if one is not None and two is not None]
    effect = effect_of(
        [one for one, _ in whole],
        [two for _, two in whole],
        CONFIDENCE,
        [row.subject for _, row in pairs],
        [row.question for _, row in pairs],
    ) if len(whole) == len(pairs) and pairs else None  # fmt: skip
    return Beside(
        metric=metric,
        rows=len(pairs),
        baseline=sum(one for one, _ in whole) / len(whole) if whole else None,
        difference=effect.difference if effect else None,
        low=effect.limits[0] if effect else None,
        high=effect.limits[1] if effect else None,
        confidence=CONFIDENCE,
        method=effect.method if effect else "its rows give no basis for an interval",
        lost=sum(two < one for one, two in whole),
        gained=sum(two > one for one, two in whole),
        prompts_differ=sum(other.prompt_hash != row.prompt_hash for other, row in pairs),
    )
