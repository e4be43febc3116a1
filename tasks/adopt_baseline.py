"""Take a baseline's answers from a pack instead of evaluating it."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from infra.contracts.records import ArmResult
from infra.contracts.specs import BASELINE, RunSpec
from infra.report import baseline_pack, notes
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tasks.outcomes import outcome
from tasks.task_page import show


@task(name="adopt-baseline", task_run_name="adopt-baseline")
def adopt_baseline(pack: str, spec: RunSpec, run: RunFolder) -> ArmResult:
    """Return the baseline of a pack, its rows and readings brought into the run's folder.

    Raises:
        PackRefused: It does not fit the run, or was changed.
    """
    with run.stage(f"evaluate-{BASELINE}") as timed:
        result = baseline_pack.adopt(Path(pack).expanduser(), spec, run, Settings())
        timed.reused = True
    run.write(f"arm-{BASELINE}", result)
    show(notes.of_arm(result, run.path), f"What {BASELINE} scored, by its pack")
    return outcome(result, reused=True)
