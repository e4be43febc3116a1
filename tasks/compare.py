"""Compare the two arms row by row."""

from __future__ import annotations

from prefect import task

from infra.contracts.records import ArmResult, Comparison
from infra.contracts.specs import RunSpec
from infra.judging import evidence
from infra.store.run_folder import RunFolder
from tasks.progress import told_to_prefect


@task(name="compare", task_run_name="compare")
def compare(
    base: ArmResult, quantized: ArmResult, again: ArmResult | None, spec: RunSpec, run: RunFolder
) -> Comparison:
    """Return each metric of both arms with the paired interval of their difference.

    With a second sitting of the base arm also what changes without any change of the model.

    Raises:
        ComparisonError: The arms did not sit the same exam.
    """
    with told_to_prefect() as progress, run.stage("compare"):
        compared = evidence.compare(base, quantized, again, spec, run.path, progress)
    run.write("comparison", compared)
    return compared
