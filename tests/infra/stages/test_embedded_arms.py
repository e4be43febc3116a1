"""Arms whose marks depend on vectors: one embedding server for all, beside the arm's own."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.contracts.records import Checkpoint, PythonEnvironment
from infra.contracts.records.embedding import EmbeddingModel
from infra.contracts.specs import EmbeddingSpec, EndpointSpec, RunSpec, ServingSpec, TaskSpec
from infra.stages import arms
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tests import embedding_endpoint
from tests.conftest import ROOT, PrintProgress
from tests.infra.stages.conftest import SAMPLE_MODEL, Evaluate, make_spec, prompts_in
from tests.infra.suite.own.test_retrieval import question, written
from tests.process_marks import command_lines, lives

SAMPLES = 2


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return written(tmp_path / "data", [question(n) for n in range(6)], shots=1, samples=SAMPLES)


def spec_of(rows: Path, embedding: EmbeddingSpec, **fields: Any) -> RunSpec:
    conditions = {"tasks": (TaskSpec(name="mine", file=str(rows)),), "embedding": embedding}
    return make_spec(conditions=conditions, fidelity={"enabled": False}, **fields)


def endpoint(url: str, version: str = "1") -> EmbeddingSpec:
    return EmbeddingSpec(endpoint=EndpointSpec(url=url, model="embeds", version=version))


def asked(folder: Path) -> int:
    """Return how often the arm was asked; one question finds out how it scores."""
    log = folder / "logs" / "server-baseline.log"
    return len(prompts_in(log)) if log.exists() else 0


def test_with_another_embedding_model_nothing_is_generated_anew(
    evaluate: Evaluate, rows: Path, tmp_path: Path
) -> None:
    with embedding_endpoint.embedding() as server:
        first = evaluate("run", spec=spec_of(rows, endpoint(server.url)))
        assert asked(tmp_path / "run") >= 12 * SAMPLES
        texts = len(server.texts)
        again = evaluate("again", spec=spec_of(rows, endpoint(server.url)))
        assert again.tasks["mine"].reused
        assert len(server.texts) == texts
        newer = evaluate("newer", spec=spec_of(rows, endpoint(server.url, "2")))
    assert not newer.tasks["mine"].reused
    assert asked(tmp_path / "newer") <= 1
    assert len(server.texts) == 2 * texts
    assert newer.tasks["mine"].metrics == first.tasks["mine"].metrics
    conditions = [one.tasks["mine"].conditions["embedding"] for one in (first, again, newer)]
    assert conditions[0] == conditions[1] != conditions[2]


def test_tasks_without_vectors_start_nothing_and_are_kept_under_the_same_key(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    plain = make_spec(fidelity={"enabled": False})
    first = evaluate("run", spec=plain)
    evaluation = plain.evaluation.model_copy(update={"embedding": endpoint("http://127.0.0.1:9")})
    again = evaluate("again", spec=plain.model_copy(update={"evaluation": evaluation}))
    assert all(task.reused for task in again.tasks.values())
    assert "embedding" not in first.tasks["gsm8k"].conditions


def stand_in(folder: Path, *faults: str) -> PythonEnvironment:
    python = folder / "embeds"
    command = [sys.executable, str(embedding_endpoint.__file__), ",".join(faults) or "none"]
    python.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    python.chmod(0o755)
    return PythonEnvironment(name="embeds", python=python, digest="embeds", provided=True)


def served() -> EmbeddingSpec:
    return EmbeddingSpec(model=SAMPLE_MODEL, pooling="mean", serving=ServingSpec(device="cpu"))


def test_a_server_of_ours_is_started_once_for_what_is_missing(
    environment: PythonEnvironment, checkpoint: Checkpoint, rows: Path, tmp_path: Path
) -> None:
    embedding = EmbeddingModel(checkpoint=checkpoint, environment=stand_in(tmp_path))

    def evaluated(run: str, arm: str, baseline: Any = None) -> Any:
        return arms.evaluate(
            arm, checkpoint, spec_of(rows, served()), environment=environment,
            run=RunFolder(id=run, path=tmp_path / run), settings=Settings(cache=tmp_path / "cache"),
            progress=PrintProgress(), embedding=embedding, baseline=baseline,
        )  # fmt: skip

    baseline = evaluated("run", "baseline")
    logs = tmp_path / "run" / "logs"
    assert (logs / "embedding-baseline.log").exists()
    candidate = evaluated("run", "fp8-cache", baseline)
    one, other = baseline.tasks["mine"], candidate.tasks["mine"]
    assert one.conditions["embedding"] == other.conditions["embedding"]
    # The engine that stands in says the same in both arms, and its vectors are all there.
    assert one.metrics == other.metrics
    assert not (logs / "embedding-fp8-cache.log").exists()


DRIVER = """
import sys
from pathlib import Path
from infra.contracts.records import Checkpoint, PythonEnvironment
from infra.contracts.records.embedding import EmbeddingModel
from infra.contracts.specs import RunSpec
from infra.stages import arms
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tests.conftest import PrintProgress
folder = Path(sys.argv[1])
def read(kind, name): return kind.model_validate_json((folder / name).read_text())
arms.evaluate(
    "baseline", read(Checkpoint, "checkpoint"), read(RunSpec, "spec"),
    environment=read(PythonEnvironment, "environment"),
    run=RunFolder(id="run", path=folder / "run"), settings=Settings(cache=folder / "cache"),
    progress=PrintProgress(), embedding=read(EmbeddingModel, "embedding"),
)
"""


@pytest.mark.usefixtures("own_cache")
def test_a_killed_driver_leaves_neither_server(
    environment: PythonEnvironment, checkpoint: Checkpoint, rows: Path, tmp_path: Path
) -> None:
    embedding = EmbeddingModel(checkpoint=checkpoint, environment=stand_in(tmp_path, "hangs"))
    for name, record in (
        ("checkpoint", checkpoint), ("spec", spec_of(rows, served())),
        ("environment", environment), ("embedding", embedding),
    ):  # fmt: skip
        (tmp_path / name).write_text(record.model_dump_json())
    leases = tmp_path / "leases"
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path)],
        cwd=ROOT, env={**os.environ, "ASSAY_LEASES": str(leases)}, stdout=subprocess.DEVNULL,
    ) as driver:  # fmt: skip
        log = tmp_path / "run" / "logs" / "embedding-baseline.log"
        deadline = time.monotonic() + 300
        while not log.exists() or "hangs" not in log.read_text():
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        below = psutil.Process(driver.pid).children(recursive=True)
        words = command_lines(below)
        assert any("stand_in_engine" in one and "supervise" not in one for one in words)
        assert any("embedding_endpoint" in one and "supervise" not in one for one in words)
        assert len(list(leases.glob("*.json"))) == 2
        os.kill(driver.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while (left := [one for one in below if lives(one)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
