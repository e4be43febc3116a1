"""Compare a candidate with the baseline, row by row."""

from __future__ import annotations

from prefect import task

from infra.contracts.records import ArmResult, Comparison
from infra.contracts.specs import RunSpec
from infra.judging import evidence
from infra.report import notes
from infra.store.run_folder import RunFolder
from tasks.progress import reported_to_prefect
from tasks.task_page import show


@task(name="compare", task_run_name="compare-{name}")
def compare(
    name: str,
    baseline: ArmResult,
    candidate: ArmResult,
    repeat: ArmResult | None,
    spec: RunSpec,
    run: RunFolder,
) -> Comparison:
    """Return each metric of both arms with the paired interval of their difference.

    With a repeat of the baseline also what changes without any change of the model.

    Raises:
        ComparisonError: The arms were not evaluated alike.
    """
    with reported_to_prefect() as progress, run.stage(f"compare-{name}"):
        compared = evidence.compare(baseline, candidate, name, repeat, spec, run.path, progress)
    run.write(f"comparison-{name}", compared)
    show(notes.of_comparison(compared), f"{name} beside the baseline")
    return compared
