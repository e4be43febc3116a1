"""What quantization buys, without a run: both folders served and timed one after the other.

    python -m tests.benchmarks.serving BASE [QUANTIZED] [--python PYTHON] [--out FOLDER]
        [--input N …] [--output N] [--concurrency N …] [--requests N] [--window N]

PYTHON has vLLM; without it Assay's own environment is taken. FOLDER receives logs, the raw results
and `bench-<arm>.json`. Timings that stand there are not taken again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from infra.contracts.records import Bench, PythonEnvironment, Weights
from infra.contracts.specs import (
    CalibrationSpec,
    EvaluationSpec,
    ModelSpec,
    QuantizationSpec,
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


class Print:
    """Progress on the terminal."""

    def say(self, text: str) -> None:
        print(text, flush=True)

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        print(f"{what} {done}{f'/{total}' if total else ''} {unit}", end="\r", flush=True)


def main() -> int:
    given = _arguments()
    arms = {"baseline": given.baseline.absolute()}
    if given.candidate:
        arms["quantized"] = given.candidate.absolute()
    found = {arm: _timed(arm, model, given) for arm, model in arms.items()}
    baseline, candidate = found["baseline"], found.get("quantized")
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


def _timed(arm: str, model: Path, given: argparse.Namespace) -> Bench | None:
    device, progress = detect("auto"), Print()
    settings = Settings(cache=given.out / "cache")
    environment = (
        PythonEnvironment(name="given", python=given.python, digest="given", provided=True)
        if given.python
        else locate("server", device.kind, Settings())[0]
    )
    run = RunFolder(id="serving", path=given.out.absolute())
    spec = RunSpec(
        model=ModelSpec(source="local", id=str(model)),
        quantization=QuantizationSpec(calibration=CalibrationSpec(path="none")),
        serving=ServingSpec(max_model_len=given.window),
        evaluation=EvaluationSpec(tasks=(TaskSpec(name="gsm8k"),)),
        speed=SpeedSpec(
            input_tokens=given.input, output_tokens=given.output,
            concurrencies=given.concurrency, requests=given.requests,
        ),
    )  # fmt: skip
    probe = BenchProbe(
        arm, Weights.model_construct(path=model, digest=str(model)), spec,
        environment=environment, conditions=[str(model), given.window, str(environment.python)],
        run=run, settings=settings, progress=progress,
    )  # fmt: skip
    if not probe.present:
        with serve(
            model, arm=arm, spec=spec.serving, concurrency=None, environment=environment,
            device=device, trust_remote_code=False, log=run.log(f"server-{arm}"),
            progress=progress,
        ) as server:  # fmt: skip
            probe.take(server, restarts_left=0)
    bench = probe.found()
    if bench:
        run.write(f"bench-{arm}", bench)
    return bench


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("baseline", type=Path)
    add("quantized", type=Path, nargs="?")
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
