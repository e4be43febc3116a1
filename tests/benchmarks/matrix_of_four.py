"""How much faster a matrix of four cells is on all accelerators than on one.

    python -m tests.benchmarks.matrix_of_four ACCELERATORS … [--cells N] [--rows N]
                                              [--device cuda|cpu] [--keep FOLDER]

ACCELERATORS are values of `ASSAY_ACCELERATORS`, one measure each: `0 0,1` has the matrix carried
out on the first GPU, and then on both. Each measure has leases, a Prefect server and a worker of
its own; the models are copies of the sample that differ in a note alone, so that nothing one has
answered serves another. What engines compile and what is known of tasks is kept for all measures,
so a cell is run before the first one, and not measured. Prints the seconds of each, and the ratio
of the first to them. `--rows` has global_mmlu_en ask so many rows, as long as MMLU's: what a run of
minutes needs to start and end weighs less in one of hours.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deployments.families import sample_family
from infra.contracts.specs import (
    EvaluationSpec,
    FidelitySpec,
    MatrixModelSpec,
    MatrixSpec,
    ModelSpec,
    ResultsSpec,
    ServingSpec,
)
from infra.store.settings import Settings
from tests.benchmarks.whole_run import MMLU, more_rows
from tests.prefect_server import PREFECT, ROOT, prefect_server

SAMPLE = ROOT / "infra" / "sample" / "model"
_ROOM = ("--kv-cache-memory-bytes", "4000000000")
"""Stated, so that engines may begin and end on one GPU while another one starts."""


def matrix(folder: Path, cells: int, rows: int | None, device: str) -> MatrixSpec:
    """Return a matrix of models alone.

    Args:
        folder: Receives the models.
        cells: How many.
        rows: Of global_mmlu_en; none for those of the sample.
        device: What they are served on.
    """
    whole = sample_family()
    evaluation = whole.evaluation.model_dump(mode="json")
    if rows:
        evaluation["datasets"][MMLU]["path"] = str(more_rows(folder / "rows", rows))
        for task in evaluation["tasks"]:
            task["limit"] = None
    models = []
    for number in range(cells):
        path = folder / f"model-{number}"
        shutil.copytree(SAMPLE, path)
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(config | {"note": [folder.name, number]}))
        models.append(
            MatrixModelSpec(name=f"m{number}", model=ModelSpec(source="local", id=str(path)))
        )
    serving = {"device": device, "max_model_len": 2048}
    if device == "cuda":
        serving |= {"memory_fraction": 0.15, "extra_args": _ROOM}
    return MatrixSpec(
        models=tuple(models),
        serving=ServingSpec.model_validate(serving),
        evaluation=EvaluationSpec.model_validate(evaluation),
        fidelity=FidelitySpec(enabled=False),
        speed=whole.speed,
        verdict=whole.verdict,
        results=ResultsSpec(label="four"),
    )


def seconds(folder: Path, accelerators: str, cells: int, rows: int | None, device: str) -> float:
    """Return how long the matrix takes on some accelerators."""
    folder.mkdir(parents=True)
    cache = folder.parent / "cache"
    if not cache.is_dir():
        cache.mkdir()
        (cache / "environments").symlink_to(Settings().environments)
    spec = folder / "matrix.json"
    spec.write_text(matrix(folder, cells, rows, device).model_dump_json())
    home = folder / "prefect"
    home.mkdir()
    with prefect_server(home) as prefect:
        env = {
            **prefect.env,
            "ASSAY_CACHE": str(cache),
            "ASSAY_RUNS": str(folder / "runs"),
            "ASSAY_LEASES": str(folder / "leases"),
            "ASSAY_ACCELERATORS": accelerators,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
        prefect.call("work-pool", "create", "assay", "--type", "process")
        prefect.call("--no-prompt", "deploy", "--name", "candidates")
        limit = str(2 * len(accelerators.split(",")))  # the next one is looked at meanwhile
        work = [str(PREFECT), "worker", "start", "--pool", "assay", "--limit", limit]
        with (folder / "worker.log").open("wb") as log:
            worker = subprocess.Popen(work, cwd=ROOT, env=env, stdout=log, stderr=log)
        try:
            began = time.monotonic()
            with (folder / "matrix.log").open("wb") as log:
                subprocess.run(
                    [sys.executable, "-m", "deployments", "run", str(spec)],
                    cwd=ROOT, env=env, stdout=log, stderr=log, check=True,
                )  # fmt: skip
            took = time.monotonic() - began
        finally:
            worker.kill()  # how long Prefect's worker takes for its own end is not measured
            worker.wait()
    table = json.loads(next(folder.glob("runs/*-matrix/matrix.json")).read_text())
    if len(table["rows"]) != cells or table["failed"]:
        raise SystemExit(f"{len(table['rows'])} of {cells} cells have a result; see {folder}")
    return took


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("accelerators", nargs="+")
    parser.add_argument("--cells", type=int, default=4)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--keep", type=Path, help="leave all there")
    given = parser.parse_args()
    folder = given.keep.absolute() if given.keep else Path(tempfile.mkdtemp(prefix="assay-four-"))
    first = 0.0
    if not (folder / "before").is_dir():
        alone = given.accelerators[0].partition(",")[0]
        seconds(folder / "before", alone, 1, None, given.device)
    for accelerators in given.accelerators:
        took = seconds(
            folder / accelerators.replace(",", "-"),
            accelerators,
            given.cells,
            given.rows,
            given.device,
        )
        first = first or took
        print(f"| {accelerators} | {took:.1f} s | {first / took:.2f} |", flush=True)
    if not given.keep:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    os.environ.pop("PREFECT_API_URL", None)
    sys.exit(main())
