"""Make a store of twenty runs, clean it up, and show that nothing else is lost.

    python -m tests.gc_of_twenty_runs [--folder FOLDER]

Eight are real runs on llama.cpp, two labels in turn: the first holds a q3_k_m against the sample
model, the second a q5_k_m, the others a q4_k_m with another margin each, so that they have
everything from those before. The other twelve are copies of the first two, begun earlier, each with
a checkpoint and scores of its own in the store. Of each label three runs are kept, all real. What
the dry run says has to be what `du` finds missing afterwards, every kept report has to verify, and
a kept run that is run again has to take everything from the store.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from infra.contracts.records import Report
from infra.contracts.specs import (
    ArmSpec,
    CandidateSpec,
    DatasetSpec,
    EvaluationSpec,
    FidelitySpec,
    GgufSpec,
    ModelSpec,
    ResultsSpec,
    RunSpec,
    ServingSpec,
    SpeedSpec,
    TaskSpec,
    VerdictSpec,
)
from infra.store.usage import FOLDER
from tests.conftest import ROOT, shared_cache
from tests.infra.housekeeping.made_store import disk_use
from tests.prefect_server import prefect_server

LABELS = ("nightly", "weekly")
REAL, COPIES, KEPT = 8, 12, 3
"""Runs that are really made, copies of the first two, and how many of each label are kept."""


def spec_of(number: int, runs: Path) -> RunSpec:
    """Return a run: the first two have other candidates than the later ones, and fewer rows."""
    made = GgufSpec(type="q3_k_m" if number == 0 else "q5_k_m" if number == 1 else "q4_k_m")
    return RunSpec(
        baseline=ArmSpec(
            model=ModelSpec(source="local", id="infra/sample/model"),
            quantization=GgufSpec(type="f16"),
            serving=ServingSpec(engine="llamacpp", device="cpu", max_model_len=1024),
        ),
        candidates=(CandidateSpec(name=made.slug, quantization=made),),
        evaluation=EvaluationSpec(
            tasks=(
                TaskSpec(
                    name="gsm8k", num_fewshot=2, limit=10 if number < 2 else 12, max_gen_toks=48
                ),
            ),
            datasets={"openai/gsm8k": DatasetSpec(path="infra/sample/data/openai/gsm8k")},
        ),
        fidelity=FidelitySpec(enabled=False),
        speed=SpeedSpec(enabled=False),
        verdict=VerdictSpec(
            margin_points=40 + number,
            task_margin_points=90,
            if_unresolvable="widen",
            gate="none",
        ),
        results=ResultsSpec(label=LABELS[number % len(LABELS)], folder=str(runs)),
    )


class Store:
    """A store and a folder of runs of its own, and the commands a user gives."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.cache, self.runs = folder, folder / "cache", folder / "runs"
        if not self.cache.exists():
            shared_cache(folder)
        self.env = {
            **environment,
            "ASSAY_CACHE": str(self.cache), "ASSAY_RUNS": str(self.runs),
            "ASSAY_LEASES": str(folder / "leases"), "PREFECT_LOGGING_LEVEL": "WARNING",
        }  # fmt: skip

    def call(self, *arguments: str) -> str:
        """Give a command; return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "deployments", *arguments],
            cwd=ROOT, env=self.env, text=True, check=False, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    def run(self, number: int, *options: str) -> Report:
        """Carry out a run and return its report."""
        spec = self.folder / f"spec-{number}.json"
        spec.write_text(spec_of(number, self.runs).model_dump_json())
        said = self.call("run", str(spec), *options)
        [page] = re.findall(r"^report: (.+)$", said, re.MULTILINE)
        return _report(Path(page).parent)

    def copy(self, run: Path, number: int) -> Path:
        """Copy a run as if it had been made earlier, with all that it alone uses."""
        label = run.name.rsplit("-", 3)[0]
        copied = self.runs / f"{label}-202510{number + 1:02}-120000-{uuid4().hex[:8]}"
        shutil.copytree(run, copied)
        [used] = [path for path in (self.cache / FOLDER).glob("*.jsonl") if run.name in _text(path)]
        names = [
            name
            for name in re.findall(r'"used", "((?:scores|checkpoints)/\w+)"', _text(used))
            if (self.cache / name).is_dir()
        ]
        text = _text(used).replace(run.name, copied.name)
        for name in names:
            own = f"{name[:-4]}{number:04}"
            shutil.copytree(self.cache / name, self.cache / own)
            text = text.replace(name, own)
        (self.cache / FOLDER / used.name.replace(".jsonl", f"-{number}.jsonl")).write_text(text)
        return copied

    @property
    def used(self) -> int:
        """Bytes on the disk."""
        return disk_use(self.cache, self.runs)


def _report(run: Path) -> Report:
    return Report.model_validate_json(_text(run / "report.json"))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def is_reused(report: Report) -> bool:
    """Return whether a run took every checkpoint and every score from the store."""
    tasks = [task for arm in report.arms.values() for task in arm.tasks.values()]
    made = {stage for stage in report.timings if stage.startswith("quantize-")}
    return all(task.reused for task in tasks) and made <= set(report.reused)


def make(store: Store) -> None:
    """Make the runs, as far as they are not there."""
    started = time.monotonic()
    for number in range(len(list(store.runs.glob("*-2026*/report.json"))), REAL):
        report = store.run(number)
        how = "all reused" if is_reused(report) else "evaluated"
        print(f"{number + 1:3} {report.run_id}: {report.verdict.status}, {how}", flush=True)
    real = sorted(store.runs.glob("*-2026*/report.json"), key=lambda path: path.stat().st_mtime)
    for number in range(len(list(store.runs.glob("*-2025*"))), COPIES):
        store.copy(real[number % 2].parent, number)
    print(f"{REAL} runs made in {time.monotonic() - started:.0f} s, {COPIES} copied")


def show(store: Store) -> None:
    """Clean up, and look what is left."""
    policy = ["gc", "--keep-days", "0", "--keep-runs", str(KEPT)]
    before = store.used
    said = store.call(*policy)
    print(said)
    [planned] = re.findall(r"^([\d,]+) bytes would come free", said, re.MULTILINE)
    assert store.used == before, "a dry run changed something"
    said = store.call(*policy, "--delete")
    [freed] = re.findall(r"^([\d,]+) bytes came free", said, re.MULTILINE)
    missing = before - store.used
    print(f"said {planned}, freed {freed}, du finds {missing:,} missing of {before:,}")
    assert planned == freed == f"{missing:,}"
    kept = sorted(path.parent for path in store.runs.glob("*/report.json"))
    assert len(kept) == KEPT * len(LABELS), kept
    for run in kept:
        store.call("verify", str(run), "--weights")
        assert all(arm.checkpoint.path.is_dir() for arm in _report(run).arms.values())
    print(f"{len(kept)} kept reports verify, the files of their checkpoints read whole")
    again = store.run(REAL - 1, "--again")
    assert is_reused(again), again.reused
    print(f"a kept run, run again: everything reused ({', '.join(again.reused)})")


def main() -> None:
    """Do it in a folder of its own, which is removed afterwards unless it was named."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="use this folder, go on with the runs in it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as spare:
        folder = (given.folder or Path(spare)).absolute()
        home = folder / "prefect"
        home.mkdir(parents=True, exist_ok=True)
        with prefect_server(home) as prefect:
            store = Store(folder, prefect.env)
            make(store)
            show(store)


if __name__ == "__main__":
    main()
