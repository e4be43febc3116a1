"""Show the verdicts on arms whose worth is known: no change, 4 bits, 3 bits.

    python -m tests.three_verdicts [--rows 100] [--margin 1]

The sample model is asked its tasks, and so are the same model again in another order (no change:
whatever is found there is noise), checkpoints of 4 bits a weight, by AWQ and by plain rounding, and
one of 3 bits, which is known to be bad. Each is held against the same margin by the same code as a
run's only candidate. Some minutes on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from deployments.recipes import sample
from infra.contracts.progress import Silent
from infra.contracts.records import ArmResult, Checkpoint
from infra.contracts.specs import (
    BASELINE,
    AwqSpec,
    CandidateSpec,
    FidelitySpec,
    ModelSpec,
    RunSpec,
    SpeedSpec,
    VerdictSpec,
)
from infra.judging import comparison
from infra.judging.pairing import RunRows
from infra.judging.verdict import decide
from infra.machine.device import detect
from infra.machine.environments import ensure
from infra.models.weights import as_it_came, inspect_local
from infra.quantizers import quantizer_of
from infra.stages import arms
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tests.conftest import MOMENT, PrintProgress
from tests.infra.scoring.checkpoints import write_awq

NO_CHANGE = "no change"
AWQ = "awq-4-bit"
ROUNDED = {"rounded-4-bit": 4, "rounded-3-bit": 3}
"""Candidate → bits a weight."""


class Evaluation:
    """Evaluates arms, all in one folder."""

    def __init__(self, spec: RunSpec, work: Path) -> None:
        self._spec = spec
        self._run = RunFolder(id="three-verdicts", path=work)
        self._settings = Settings()
        kind = detect(spec.baseline.serving.device).kind
        self._server, self._quantizer = (
            ensure(
                stage, kind, settings=self._settings, progress=Silent(), log=self._run.log("build")
            )
            for stage in ("vllm", "awq")
        )

    def checkpoint(self, name: str) -> Checkpoint:
        """Return what an arm serves: a folder as it lies there, or what AutoAWQ makes of one."""
        arm = self._spec.arms[name]
        weights = inspect_local(Path(arm.model.id).absolute(), settings=self._settings)
        if arm.quantization is None:
            return as_it_came(weights)
        made, _ = quantizer_of(arm.quantization).make(
            weights, arm.quantization, environment=self._quantizer, settings=self._settings,
            moment=MOMENT, template_variables={}, trust_remote_code=False,
            progress=PrintProgress(), log=self._run.log("quantize"),
        )  # fmt: skip
        return made

    def result(
        self, name: str, *, repeat: bool = False, baseline: ArmResult | None = None
    ) -> ArmResult:
        """Return what an arm scores."""
        return arms.evaluate(
            name, self.checkpoint(name), self._spec,
            environment=self._server, run=self._run, settings=self._settings,
            progress=PrintProgress(), repeat=repeat, baseline=baseline,
        )  # fmt: skip


def run_of(rows: int, verdict: VerdictSpec, recipe: AwqSpec, work: Path) -> RunSpec:
    """Return the run: the sample model, and checkpoints of it."""
    shared = sample()
    model = Path(shared.baseline.model.id)
    rounded = {name: write_awq(model, work / name, bits) for name, bits in ROUNDED.items()}
    tasks = tuple(task.model_copy(update={"limit": rows}) for task in shared.evaluation.tasks)
    triage = shared.evaluation.triage.model_copy(update={"enabled": False})
    return shared.model_copy(
        update={
            "candidates": (
                CandidateSpec(name=AWQ, quantization=recipe),
                *(
                    CandidateSpec(name=name, model=ModelSpec(source="local", id=str(folder)))
                    for name, folder in rounded.items()
                ),
            ),
            "evaluation": shared.evaluation.model_copy(update={"tasks": tasks, "triage": triage}),
            "speed": SpeedSpec(enabled=False),
            "fidelity": FidelitySpec(enabled=False),
            "verdict": verdict,
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100, help="of each task or subtask")
    parser.add_argument("--margin", type=float, default=1.0, help="points")
    given = parser.parse_args()
    verdict = VerdictSpec(margin_points=given.margin, task_margin_points=3 * given.margin)
    (made,) = (one.quantization for one in sample().candidates)
    assert made is not None
    with tempfile.TemporaryDirectory(prefix="assay-verdicts-") as name:
        work = Path(name)
        spec = run_of(given.rows, verdict, made, work)
        evaluation = Evaluation(spec, work)
        baseline = evaluation.result(BASELINE)
        others = {NO_CHANGE: evaluation.result(BASELINE, repeat=True)}
        others |= {
            one.name: evaluation.result(one.name, baseline=baseline) for one in spec.candidates
        }
        for what, other in others.items():
            found = comparison.compare(baseline, other, RunRows(work), verdict.confidence)
            judged = decide(found, verdict, what=what)
            print(f"\n{judged.headline}")
            for reason in judged.reasons:
                print(f"    {reason}")
            if judged.needed:
                print(f"    {judged.needed}")


if __name__ == "__main__":
    main()
