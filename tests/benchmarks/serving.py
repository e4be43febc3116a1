"""What a change buys, without a run: both folders served and timed one after the other.

    python -m tests.benchmarks.serving BASELINE [CANDIDATE] [--python PYTHON] [--out FOLDER]
        [--input N …] [--output N] [--concurrency N …] [--requests N] [--window N]

PYTHON has vLLM; without it Assay's own environment is taken. FOLDER receives logs, the raw results
and `bench-<arm>.json`. Timings that stand there are not taken again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from infra.contracts.records import Bench, PythonEnvironment
from infra.contracts.specs import (
    BASELINE,
    ArmSpec,
    CandidateSpec,
    EvaluationSpec,
    ModelSpec,
    RunSpec,
    ServingSpec,
    SpeedSpec,
    TaskSpec,
)
from infra.engines.vllm.server import serve
from infra.machine.device import detect
from infra.machine.environments import locate
from infra.probes.speed import BenchProbe, slower, summary
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tests.infra.probes.subjects import checkpoint_at, subject_of

CANDIDATE = "candidate"


class Print:
    """Progress on the terminal."""

    def say(self, text: str) -> None:
        print(text, flush=True)

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        print(f"{what} {done}{f'/{total}' if total else ''} {unit}", end="\r", flush=True)


def main() -> int:
    given = _arguments()
    spec = _spec(given)
    found = {arm: _timed(arm, spec, given) for arm in spec.arms}
    baseline, candidate = found[BASELINE], found.get(CANDIDATE)
    for arm, bench in found.items():
        print(f"{arm}: {bench.memory if bench else 'not timed'}")
    print("\n| in | at a time | TTFT ms | TPOT ms | tokens/s |\n|--:|--:|--:|--:|--:|")
    for pair in summary(baseline, candidate):
        cells = [
            " → ".join(
                "–" if point is None else f"{getattr(point, name):.4g}"
                for point in (pair.baseline, pair.candidate)
            )
            for name in ("ttft_ms_median", "tpot_ms_median", "output_tokens_per_second")
        ]
        print(f"| {pair.input_tokens} | {pair.concurrency} | {' | '.join(cells)} |")
    print(*slower(baseline, candidate), sep="\n")
    return 0 if all(found.values()) else 1


def _spec(given: argparse.Namespace) -> RunSpec:
    def model(folder: Path) -> ModelSpec:
        return ModelSpec(source="local", id=str(folder.absolute()))

    candidates = [given.candidate] if given.candidate else []
    return RunSpec(
        baseline=ArmSpec(
            model=model(given.baseline), serving=ServingSpec(max_model_len=given.window)
        ),
        candidates=tuple(CandidateSpec(name=CANDIDATE, model=model(one)) for one in candidates),
        evaluation=EvaluationSpec(tasks=(TaskSpec(name="gsm8k"),)),
        speed=SpeedSpec(
            input_tokens=given.input, output_tokens=given.output,
            concurrencies=given.concurrency, requests=given.requests,
        ),
    )  # fmt: skip


def _timed(name: str, spec: RunSpec, given: argparse.Namespace) -> Bench | None:
    device, progress = detect("auto"), Print()
    environment = (
        PythonEnvironment(name="given", python=given.python, digest="given", provided=True)
        if given.python
        else locate("vllm", device.kind, Settings())[0]
    )
    run = RunFolder(id="serving", path=given.out.absolute())
    arm = spec.arms[name]
    model = Path(arm.model.id)
    subject = subject_of(
        spec, checkpoint_at(model, digest=str(model)), given.out, name, environment=environment,
        conditions=[str(model), given.window, str(environment.python)],
        run=run, settings=Settings(cache=given.out / "cache"), progress=progress,
    )  # fmt: skip
    probe = BenchProbe(subject)
    if not probe.present:
        with serve(
            model, arm=name, spec=arm.serving, concurrency=None, environment=environment,
            device=device, trust_remote_code=False, log=run.log(f"server-{name}"),
            progress=progress,
        ) as server:  # fmt: skip
            probe.take(server, restarts_left=0)
    bench = probe.found()
    if bench:
        run.write(f"bench-{name}", bench)
    return bench


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("baseline", type=Path)
    add("candidate", type=Path, nargs="?")
    add("--python", type=Path)
    add("--out", type=Path, default=Path("serving-speed"))
    add("--input", type=int, nargs="+", default=[128, 2048])
    add("--output", type=int, default=128)
    add("--concurrency", type=int, nargs="+", default=[1, 16])
    add("--requests", type=int, default=32)
    add("--window", type=int, default=4096)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
