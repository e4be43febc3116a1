"""Show the verdicts on three arms whose worth is known: no change, 4 bits, 3 bits.

    python -m tests.three_verdicts [--rows 100] [--margin 1]

The sample model sits its exam, and so do the same model again in another order (a no-op: whatever
is found there is noise), checkpoints of 4 bits a weight, by AWQ and by plain rounding, and one of
3 bits, which is known to be bad. Each is held against the same margin by the same code as a run.
Some minutes on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from deployments.recipes import sample
from infra.contracts.progress import Silent
from infra.contracts.records import ArmResult, QuantizedCheckpoint, Weights
from infra.contracts.specs import FidelitySpec, QuantizationSpec, RunSpec, SpeedSpec, VerdictSpec
from infra.judging import comparison
from infra.judging.verdict import decide
from infra.machine.device import detect
from infra.machine.environments import ensure
from infra.models.weights import inspect_local
from infra.quantizers.awq import quantizer
from infra.stages import arms
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tests.conftest import MOMENT, PrintProgress
from tests.infra.scoring.checkpoints import write_awq


class Examination:
    """Lets models sit one exam, all in one folder."""

    def __init__(self, spec: RunSpec, work: Path) -> None:
        self._spec = spec
        self._run = RunFolder(id="three-verdicts", path=work)
        self._settings = Settings()
        kind = detect(spec.serving.device).kind
        self._server, self._quantizer = (
            ensure(
                stage, kind, settings=self._settings, progress=Silent(), log=self._run.log("build")
            )
            for stage in ("server", "quantizer")
        )
        self.baseline = inspect_local(Path(spec.model.id).absolute(), settings=self._settings)

    def quantize(self, quantization: QuantizationSpec) -> QuantizedCheckpoint:
        """Return the checkpoint that AutoAWQ makes."""
        made, _ = quantizer.quantize(
            self.baseline, quantization, environment=self._quantizer, settings=self._settings,
            moment=MOMENT, template_variables={},
            progress=PrintProgress(), log=self._run.log("quantize"),
        )  # fmt: skip
        return made

    def rounded(self, like: QuantizedCheckpoint, bits: int) -> QuantizedCheckpoint:
        """Return a checkpoint that is rounded to so many bits, with no search for scales."""
        folder = write_awq(self.baseline.path, self._run.path / f"{bits}-bit", bits)
        found = inspect_local(folder, settings=self._settings)
        return like.model_copy(
            update={name: getattr(found, name) for name in ("path", "files", "digest")}
        )

    def sit(self, name: str, model: Weights | QuantizedCheckpoint, sitting: int = 1) -> ArmResult:
        """Return what a model scores."""
        run = RunFolder(id=self._run.id, path=self._run.path / name)
        result = arms.evaluate(
            "baseline" if model is self.baseline else "quantized", model, self._spec,
            environment=self._server, run=run, settings=self._settings, progress=PrintProgress(),
            sitting=sitting,
        )  # fmt: skip
        tasks = {
            task: scores.model_copy(update={"samples": f"{name}/{scores.samples}"})
            for task, scores in result.tasks.items()
        }
        return result.model_copy(update={"tasks": tasks})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100, help="of each task or subtask")
    parser.add_argument("--margin", type=float, default=1.0, help="points")
    given = parser.parse_args()
    recipe = sample()
    tasks = tuple(task.model_copy(update={"limit": given.rows}) for task in recipe.evaluation.tasks)
    triage = recipe.evaluation.triage.model_copy(update={"enabled": False})
    verdict = VerdictSpec(margin_points=given.margin, task_margin_points=3 * given.margin)
    spec = recipe.model_copy(
        update={
            "evaluation": recipe.evaluation.model_copy(update={"tasks": tasks, "triage": triage}),
            "speed": SpeedSpec(enabled=False),
            "fidelity": FidelitySpec(enabled=False),
            "verdict": verdict,
        }
    )
    with tempfile.TemporaryDirectory(prefix="assay-verdicts-") as name:
        work = Path(name)
        exam = Examination(spec, work)
        checkpoint = exam.quantize(spec.quantization)
        baseline = exam.sit("baseline", exam.baseline)
        others = {
            "no change": exam.sit("again", exam.baseline, sitting=2),
            "4-bit AWQ": exam.sit("awq", checkpoint),
            "4-bit rounding": exam.sit("four", exam.rounded(checkpoint, 4)),
            "3-bit rounding": exam.sit("three", exam.rounded(checkpoint, 3)),
        }
        for what, other in others.items():
            found = comparison.compare(baseline, other, work, verdict.confidence)
            told = decide(found, verdict, what=what)
            print(f"\n{told.headline}")
            for reason in told.reasons:
                print(f"    {reason}")
            if told.needed:
                print(f"    {told.needed}")


if __name__ == "__main__":
    main()
