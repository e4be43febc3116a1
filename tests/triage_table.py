"""Show what triage says of a sound checkpoint of the sample model and of broken ones.

    python -m tests.triage_table

AutoAWQ makes one checkpoint on the sample's conversations and one on random characters; of the
first, copies are spoiled in every way there is. Those whose files pass are served. It takes some
minutes on two cores, nearly all of them AutoAWQ and engine starts.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from infra.contracts.errors import BrokenCheckpoint
from infra.contracts.progress import Silent
from infra.contracts.records import Checkpoint, Triage
from infra.contracts.specs import BASELINE, RunSpec
from infra.machine.device import detect
from infra.machine.environments import ensure
from infra.models.weights import as_it_came, inspect_local
from infra.probes.subject import Subject
from infra.probes.triage import Look, look_at_files
from infra.quantizers import quantizer_of
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tests.broken_checkpoints import SAMPLE, SPOILERS, spoil, write_garbage
from tests.conftest import MOMENT
from tests.exactness import served
from tests.infra.probes.subjects import result_of, subject_of
from tests.infra.probes.triage.conftest import CANDIDATE, make_spec


class Bench:
    """Looks at checkpoints, all in one folder of its own."""

    def __init__(self, work: Path) -> None:
        settings, log = Settings(), work / "build.log"
        self.work = work
        self.settings = Settings(cache=work / "cache")
        self.weights = inspect_local(SAMPLE, settings=settings)
        self.baseline = as_it_came(self.weights)
        self.server, self.quantizer = (
            ensure(stage, detect("auto").kind, settings=settings, progress=Silent(), log=log)
            for stage in ("vllm", "awq")
        )

    def quantize(self, spec: RunSpec) -> Checkpoint:
        recipe = spec.arms[CANDIDATE].quantization
        assert recipe is not None
        made, _ = quantizer_of(recipe).make(
            self.weights, recipe, environment=self.quantizer, settings=Settings(),
            moment=MOMENT, template_variables={}, trust_remote_code=False,
            progress=Silent(), log=self.work / "quantize.log",
        )  # fmt: skip
        return made

    def subject(self, arm: str, checkpoint: Checkpoint, spec: RunSpec, run: str) -> Subject:
        return subject_of(
            spec, checkpoint, self.work, arm, conditions=[run], environment=self.server,
            run=RunFolder(id=run, path=self.work / run), settings=self.settings,
        )  # fmt: skip

    def look_at_baseline(self, spec: RunSpec) -> None:
        """Keep the baseline's answers to the conversations of a run."""
        subject = self.subject(BASELINE, self.baseline, spec, BASELINE)
        self._serve(subject, Look(subject, baseline=None))

    def look(self, checkpoint: Checkpoint, spec: RunSpec, name: str) -> None:
        """Serve a checkpoint and let triage look at its answers."""
        subject = self.subject(CANDIDATE, checkpoint, spec, name)
        baseline = self.subject(BASELINE, self.baseline, spec, BASELINE)
        self._serve(subject, Look(subject, baseline=result_of(baseline)))

    def _serve(self, subject: Subject, look: Look) -> None:
        log = subject.run.log(f"server-{subject.name}")
        path = subject.checkpoint.path
        with served(path, "auto", self.server, log, max_model_len=2048) as server:
            look.take(server)

    def verdict(self, checkpoint: Checkpoint, spec: RunSpec, name: str) -> str:
        """Return what stops a checkpoint, or that nothing does."""
        run = RunFolder(id=name, path=self.work / name)
        triage = spec.evaluation.triage
        started = time.monotonic()
        try:
            look_at_files(CANDIDATE, checkpoint, self.weights, triage, run=run, progress=Silent())
            self.look(checkpoint, spec, name)
        except BrokenCheckpoint as error:
            stopped = ", ".join(error.checks)
            return f"stopped in {time.monotonic() - started:.1f} s by: {stopped}"
        return f"passes, in {time.monotonic() - started:.1f} s with the start of the engine"

    def agreement(self, name: str) -> str:
        """Return how the served checkpoint compares with the baseline."""
        file = self.work / name / f"triage-{CANDIDATE}.json"
        if not file.is_file():
            return ""
        checks = Triage.model_validate_json(file.read_text()).checks
        return next(check.value for check in checks if check.name.startswith("agreement"))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="assay-triage-") as name:
        work = Path(name)
        bench = Bench(work)
        spec, noise = make_spec(), make_spec(write_garbage(work / "noise.jsonl", 40))
        bench.look_at_baseline(spec)
        bench.look_at_baseline(noise)
        sound, garbage = bench.quantize(spec), bench.quantize(noise)
        swapped = spoil(sound.path, work / "spoiled", "layers swapped")

        def show(what: str, verdict: str, key: str = "") -> None:
            print(f"{what}: {verdict}", flush=True)
            if key:
                print(f"    {bench.agreement(key)}", flush=True)

        show("sound", bench.verdict(sound, spec, "sound"), "sound")
        show("calibrated on noise", bench.verdict(garbage, noise, "noise"), "noise")
        show("the same, on conversations", bench.verdict(garbage, spec, "on-talks"), "on-talks")
        for number, how in enumerate(SPOILERS):
            path = spoil(sound.path, work / f"spoiled-{number}", how)
            broken = sound.model_copy(update={"path": path})
            show(how, bench.verdict(broken, spec, f"broken-{number}"))
        try:
            bench.look(sound.model_copy(update={"path": swapped}), spec, "swapped")
        except BrokenCheckpoint:
            show("layers swapped, its files not looked at", "stopped", "swapped")


if __name__ == "__main__":
    main()
