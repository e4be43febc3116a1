"""A matrix of six cells on two workers with homes of their own, of which one is killed.

    python -m tests.matrix_on_two_workers [--rows 40] [--shared URL] [--alone]

A real PostgreSQL, a Prefect server on it, and two workers that share nothing but the URL of
`ASSAY_SHARED`: each has its own home, cache, runs and leases. The engine is llama.cpp, the models
are two files of the sample with three candidates each. As soon as the first worker has been given
some answers it is killed with all its children. In the end all cells have to be there, each
baseline to have been evaluated once, and no question to have been asked twice whose answer was
shared: those of the last second before the kill are counted. With `--alone` one worker then does
the same, for the ratio of the times.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import psutil

from deployments.families import sample_family
from infra.contracts.records import Report
from infra.contracts.records.matrix import MatrixReport
from infra.contracts.specs import (
    CandidateSpec,
    FidelitySpec,
    MatrixModelSpec,
    MatrixSpec,
    ModelSpec,
    ResultsSpec,
    ServingChanges,
    ServingSpec,
    SpeedSpec,
    TaskSpec,
)
from infra.store.shared import Place
from tests import sample_gguf
from tests.conftest import shared_cache
from tests.postgresql import PROGRAMS, postgresql
from tests.prefect_server import PREFECT, ROOT, Prefect, prefect_server
from tests.temporary_folders import of_everybody

LABEL = "two-workers"
CACHES = ("q8_0", "q5_1", "q4_0")
ANSWERS_BEFORE_KILL = 8


def matrix(folder: Path, rows: int) -> MatrixSpec:
    """Return two models with three candidates each: other numbers in the engine's cache."""
    whole = sample_family()
    models = {half: sample_gguf.write(folder / half, half=half == "f16") for half in ("f32", "f16")}
    return MatrixSpec(
        models=tuple(
            MatrixModelSpec(name=name, model=ModelSpec(source="local", id=str(path)))
            for name, path in models.items()
        ),
        candidates=tuple(
            CandidateSpec(
                name=kind.replace("_", "-"),
                serving=ServingChanges(extra_args=("--cache-type-k", kind)),
            )
            for kind in CACHES
        ),
        serving=ServingSpec(engine="llamacpp", device="cpu", max_model_len=2048),
        evaluation=whole.evaluation.model_copy(
            update={
                "tasks": (
                    TaskSpec(name="gsm8k", num_fewshot=0, limit=rows, max_gen_toks=96),
                    TaskSpec(name="global_mmlu_en", limit=12),
                ),
                "concurrency": 2,
            }
        ),
        fidelity=FidelitySpec(documents=4, top_k=2),
        speed=SpeedSpec(enabled=False),
        verdict=whole.verdict.model_copy(update={"margin_points": 50, "task_margin_points": 50}),
        results=ResultsSpec(label=LABEL),
    )


class Machine:
    """A home of its own on this machine."""

    def __init__(self, folder: Path, name: str, shared: str) -> None:
        self.name = name
        self.home = folder / name
        self.home.mkdir()
        self.cache = shared_cache(self.home)
        self.runs = self.home / "runs"
        self.log = self.home / "log"
        self.variables = {
            "HOME": str(self.home),
            "ASSAY_CACHE": str(self.cache),
            "ASSAY_RUNS": str(self.runs),
            "ASSAY_LEASES": str(self.home / "leases"),
            "ASSAY_SHARED": shared,
            "CUDA_VISIBLE_DEVICES": "-1",
            "PREFECT_HOME": str(self.home / "prefect"),
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        }

    def start(self, prefect: Prefect, *command: str) -> subprocess.Popen[bytes]:
        """Start a command there."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command, cwd=ROOT, env=prefect.env | self.variables, stdout=log,
                stderr=subprocess.STDOUT,
            )  # fmt: skip

    @contextmanager
    def worker(self, prefect: Prefect) -> Iterator[subprocess.Popen[bytes]]:
        """Run a worker there that carries out one run at a time."""
        command = [str(PREFECT), "worker", "start", "--pool", "assay", "--limit", "1"]
        running = self.start(prefect, *command, "--name", self.name)
        try:
            yield running
        finally:
            self.kill(running)

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """Kill it with all that it has started."""
        with suppress(psutil.NoSuchProcess):
            tree = [
                psutil.Process(worker.pid),
                *psutil.Process(worker.pid).children(recursive=True),
            ]
            for process in tree:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
        worker.wait(60)

    @property
    def files(self) -> dict[str, Path]:
        """Identity → its file of answers."""
        return {path.stem: path for path in (self.cache / "answers").glob("*.sqlite")}


def wait_for(what: str, reached: Callable[[], Any], machines: list[Machine], limit: float) -> None:
    """Wait until something is reached."""
    until = time.monotonic() + limit
    while not reached():
        if time.monotonic() > until:
            ends = [f"{one.name}: {one.log.read_text()[-3000:]}" for one in machines]
            raise TimeoutError("\n".join([what, *ends]))
        time.sleep(0.05)


def carry_out(
    folder: Path, prefect: Prefect, spec: MatrixSpec, shared: str, *, workers: int, kill: bool
) -> tuple[float, list[Machine]]:
    """Carry the matrix out; return its seconds, and whoever took part, who starts it last."""
    folder.mkdir()
    machines = [Machine(folder, f"worker-{number}", shared) for number in range(workers)]
    starter = Machine(folder, "starter", shared)
    written = folder / "matrix.json"
    written.write_text(spec.model_dump_json())
    everybody = [*machines, starter]
    with ExitStack() as stack:
        running = [stack.enter_context(one.worker(prefect)) for one in machines]
        started = time.monotonic()
        python = str(PREFECT.with_name("python"))
        whole = starter.start(prefect, python, "-m", "deployments", "run", str(written))
        stack.callback(starter.kill, whole)
        if kill:
            first = machines[0]

            def asking() -> bool:
                """Whether it was given some answers, and they are shared."""
                there = [shared_keys(Place(shared), identity) for identity in first.files]
                given = sum(len(keys) for one in there for keys in one.values())
                return whole.poll() is not None or given >= ANSWERS_BEFORE_KILL

            wait_for("answers", asking, everybody, 900)
            first.kill(running[0])
            print(
                f"killed {first.name} after {time.monotonic() - started:.0f} s; "
                f"{lost(Place(shared), first)} of its answers were not shared yet",
                flush=True,
            )
        wait_for("the end", lambda: whole.poll() is not None, everybody, 1800)
        seconds = time.monotonic() - started
        if whole.returncode:
            raise RuntimeError(starter.log.read_text()[-6000:])
    return seconds, everybody


def shared_keys(place: Place, identity: str) -> dict[str, set[str]]:
    """Return process → the questions whose answers it put there: its engine gave them."""
    found: dict[str, set[str]] = {}
    for name in place.names(f"answers/{identity}"):
        if (data := place.read(f"answers/{identity}/{name}")) is not None:
            keys = {key for key, _ in orjson.loads(zlib.decompress(data))["answers"]}
            found.setdefault(name.partition("-")[0], set()).update(keys)
    return found


def lost(place: Place, killed: Machine) -> int:
    """Return how many answers only a killed machine has: those of its last second."""
    count = 0
    for identity, path in killed.files.items():
        there = set().union(*shared_keys(place, identity).values())
        with closing(sqlite3.connect(path)) as file:
            keys = [key.hex() for (key,) in file.execute("SELECT key FROM answers")]
        count += sum(key not in there for key in keys)
    return count


def reports(runs: Path) -> list[Report]:
    """Return the reports in a folder of runs."""
    return [
        Report.model_validate_json(path.read_text())
        for path in runs.glob(f"{LABEL}-2*/report.json")
    ]


def check(spec: MatrixSpec, place: Place, everybody: list[Machine]) -> list[str]:
    """Return what is wrong."""
    *_, starter = everybody
    table = MatrixReport.model_validate_json(
        (starter.runs / f"{LABEL}-matrix" / "matrix.json").read_text()
    )
    wrong = []
    rows = {(row.model, row.arm) for row in table.rows}
    wanted = {(cell.model, arm) for cell in spec.cells for arm in ("baseline", cell.candidate)}
    if rows != wanted or table.failed or table.waiting:
        wrong.append(f"cells: {rows ^ wanted}, failed {table.failed}, waiting {table.waiting}")
    found = reports(starter.runs)
    print(f"{len(found)} reports of {len(spec.cells)} cells")
    evaluated: Counter[str] = Counter()
    for report in found:
        for task in report.arms["baseline"].tasks.values():
            evaluated[
                f"{report.spec.baseline.model.id.rpartition('/')[2]}: {task.name}"
            ] += not task.reused
    print("baselines evaluated, times:", dict(evaluated))
    if set(evaluated.values()) != {1}:
        wrong.append("a baseline was not evaluated once")
    counted = {
        identity: Counter(key for keys in shared_keys(place, identity).values() for key in keys)
        for identity in place.names("answers")
    }
    twice = sum(count - 1 for keys in counted.values() for count in keys.values())
    total = sum(len(keys) for keys in counted.values())
    print(f"{total} questions of {len(counted)} served arms; asked by two processes: {twice}")
    if twice:
        wrong.append(f"{twice} questions were asked twice")
    history = {path.removesuffix(".json") for path in place.names("history")}
    if history != {report.run_id for report in found}:
        wrong.append(f"history: {history}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--shared", help="URL of a folder that is empty (a temporary one)")
    parser.add_argument("--alone", action="store_true", help="let one worker do the same")
    given = parser.parse_args()
    if PROGRAMS is None:
        print("PostgreSQL is not installed")
        return 2
    os.umask(0o022)
    folder = Path(tempfile.mkdtemp(prefix="assay-workers-", dir=of_everybody()))
    folder.chmod(0o755)  # PostgreSQL's own user has to reach its folder
    shared = given.shared or (folder / "shared").as_uri()
    try:
        with ExitStack() as stack:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            word = secrets.token_hex(16)
            stack.enter_context(
                postgresql(
                    folder / "postgresql", port, "assay", "prefect", word,
                    "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
                )
            )  # fmt: skip
            database = f"postgresql+asyncpg://assay:{word}@127.0.0.1:{port}/prefect"
            (folder / "server").mkdir()
            prefect = stack.enter_context(
                prefect_server(
                    folder / "server",
                    PREFECT_API_DATABASE_CONNECTION_URL=database,
                )
            )
            prefect.call("work-pool", "create", "assay", "--type", "process")
            prefect.call("--no-prompt", "deploy", "--name", "candidates")
            prefect.call("automation", "create", "--from-file", "deployments/lost_runs.yaml")
            spec = matrix(folder / "models", given.rows)
            seconds, everybody = carry_out(
                folder / "two", prefect, spec, shared, workers=2, kill=True
            )
            wrong = check(spec, Place(shared), everybody)
            print(f"two workers, one of them killed: {seconds:.0f} s")
            if given.alone:
                alone, _ = carry_out(
                    folder / "one", prefect, spec, f"{shared}-alone", workers=1, kill=False
                )
                print(f"one worker: {alone:.0f} s; ratio {seconds / alone:.2f}")
        print("\n".join(wrong) or "as it should be")
        return int(bool(wrong))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
