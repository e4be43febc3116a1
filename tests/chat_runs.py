"""A finished run whose two models are real ones, so that they can be tried.

python -m tests.chat_runs FOLDER     writes one of the sample and its AWQ checkpoint
"""

from __future__ import annotations

import sys
from pathlib import Path

from infra.contracts.records import Report
from infra.contracts.specs import (
    BASELINE,
    ArmSpec,
    CandidateSpec,
    ModelSpec,
    RunSpec,
    ServingChanges,
    ServingSpec,
)
from infra.models.weights import as_it_came, inspect_local
from infra.report.receipt import sealed
from infra.store.settings import Settings
from tests.broken_checkpoints import SAMPLE
from tests.infra.made_runs import make_run

CANDIDATE = "awq-4bit"
AWQ = SAMPLE.with_name("model-awq")
VLLM = ServingSpec(device="cpu", max_model_len=512, enforce_eager=True)
LLAMACPP = ServingSpec(engine="llamacpp", device="cpu", max_model_len=512)


def finished(
    folder: Path,
    baseline: Path = SAMPLE,
    candidate: Path = AWQ,
    serving: ServingSpec = VLLM,
    changes: ServingChanges | None = None,
) -> Report:
    """Write a run with made-up rows of two models that are there.

    Args:
        folder: The run's folder.
        baseline: Folder of the one model.
        candidate: Of the other.
        serving: How both were served.
        changes: What was otherwise for the candidate.
    """
    folder.mkdir(parents=True)
    made = make_run(folder, rows=30, run_id=folder.name)
    spec = RunSpec(
        baseline=ArmSpec(model=ModelSpec(source="local", id=str(baseline)), serving=serving),
        candidates=(
            CandidateSpec(
                name=CANDIDATE,
                model=ModelSpec(source="local", id=str(candidate)),
                serving=changes,
            ),
        ),
        evaluation=made.spec.evaluation,
        results=made.spec.results,
    )
    arms = {}
    for name, result, path in zip(
        (BASELINE, CANDIDATE), made.arms.values(), (baseline, candidate), strict=True
    ):
        checkpoint = as_it_came(inspect_local(path, settings=Settings(cache=folder.parent)))
        (folder / f"checkpoint-{name}.json").write_text(checkpoint.model_dump_json())
        fields = checkpoint.model_dump(include={"path", "digest", "size_bytes", "model"})
        summary = result.checkpoint.model_copy(update=fields)
        arms[name] = result.model_copy(update={"checkpoint": summary})
    judged = {CANDIDATE: next(iter(made.judged.values()))}
    report = made.model_copy(update={"spec": spec, "arms": arms, "judged": judged})
    report = sealed(report, folder)
    (folder / "report.json").write_text(report.model_dump_json(indent=2) + "\n")
    return report


if __name__ == "__main__":
    finished(Path(sys.argv[1]).absolute())
