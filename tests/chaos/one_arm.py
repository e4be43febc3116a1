"""Evaluates the baseline as a run does, without Prefect around it: what CI hurts.

python -m tests.chaos.one_arm RUN_FOLDER SPEC
"""

from __future__ import annotations

import sys
from pathlib import Path

from infra.contracts.specs import RunSpec
from infra.machine.environments import ensure
from infra.models.weights import as_it_came, inspect_local
from infra.stages import arms
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tests.conftest import PrintProgress

if __name__ == "__main__":
    run = RunFolder(id="one-arm", path=Path(sys.argv[1]))
    spec = RunSpec.model_validate_json(Path(sys.argv[2]).read_text())
    settings, progress = Settings(), PrintProgress()
    result = arms.evaluate(
        "baseline",
        as_it_came(inspect_local(Path(spec.baseline.model.id), settings=settings)),
        spec,
        environment=ensure(
            "vllm", "cpu", settings=settings, progress=progress, log=run.log("build")
        ),
        run=run,
        settings=settings,
        progress=progress,
    )
    run.write("arm-baseline", result)
