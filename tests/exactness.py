"""Show that `assay-completions` answers as lm-eval's own `local-completions` does, on real vLLM.

    python -m tests.exactness [--model FOLDER …] [--dtype float32] [--documents N]

One server for each checkpoint is asked the same questions by both: whole tasks, plain and as chats,
over the sample's rows, and questions made by hand for what is easily got wrong. A further server,
of a tiny random model, is asked with two more tokenizers. Exits with 1 if two log-likelihoods
differ by more than the type that the engine computes in explains, or if a pick, an `is_greedy` or
a text differs where there was no tie; `tests/infra/scoring/comparison.py` says what a tie is.

By default the sample model and an AWQ checkpoint of it are asked. vLLM refuses AWQ in float32, and
in 16 bits what an engine computes together moves a score. So that is served twice in the type it
was written in: by an engine that computes one request at a time on one thread, in which the order
of every sum is fixed, and held to the limits of float32; and as every run serves it, with wider
limits.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.contracts.progress import Silent
from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.engines.live import LiveServer
from infra.engines.vllm.server import serve
from infra.machine.device import detect
from infra.machine.environments import ensure
from infra.store.settings import Settings
from infra.suite.harness.suite import HarnessSuite
from tests import tiny_model
from tests.infra.scoring import checkpoints, suites
from tests.infra.scoring.comparison import LIMITS, Limits, Verdict, table
from tests.infra.scoring.suites import Bench

ALONE = ("--max-num-seqs", "1", "--no-enable-prefix-caching", "--max-num-batched-tokens", "4096")
"""One request is computed at a time, whole; `max_model_len` must not be more than that."""

SAMPLE = Path(__file__).parent.parent / "infra" / "sample" / "model"


@contextmanager
def served(
    model: Path, dtype: str, environment: PythonEnvironment, log: Path, **spec: Any
) -> Iterator[LiveServer]:
    """Serve a checkpoint in a type, or in its own if that cannot be."""
    with serve(
        model, arm="baseline",
        spec=ServingSpec(dtype=dtype_for(model, dtype), enforce_eager=True, **spec),
        concurrency=suites.STOCK_CONCURRENCY, environment=environment, device=detect("auto"),
        trust_remote_code=False, log=log, progress=Silent(),
    ) as server:  # fmt: skip
        yield server


@contextmanager
def served_alone(
    model: Path, dtype: str, environment: PythonEnvironment, log: Path
) -> Iterator[LiveServer]:
    """Serve a checkpoint so that what an answer is computed with cannot change it, on a CPU."""
    # Two threads of attention split a long sum by its length.
    one_thread = {"OMP_NUM_THREADS": "1"}
    with served(model, dtype, environment, log, extra_args=ALONE, variables=one_thread) as server:
        yield server


def dtype_for(model: Path, dtype: str) -> Any:
    """Return the type to serve in: vLLM's AWQ layers compute in 16 bits and nothing else."""
    quantized = "quantization_config" in json.loads((model / "config.json").read_text())
    return "auto" if quantized and dtype == "float32" else dtype


def compare_checkpoint(
    server: LiveServer,
    model: Path,
    suite: HarnessSuite,
    documents: int,
    window: int | None = None,
    limits: Limits | None = None,
) -> Iterator[Verdict]:
    """Compare on one checkpoint: whole tasks, and questions made by hand.

    Args:
        server: Serves it.
        model: Its folder.
        suite: What is asked first.
        documents: How many of each (sub)task.
        window: What the questions made by hand take the window for: a shorter one makes those
            that do not fit it shorter. None: what it is.
        limits: What may differ; None: what the type explains in which the engine computes.
    """
    bench = Bench(server, model, limits or LIMITS[server.record.dtype or "float32"])
    yield from suites.whole_tasks(bench, suite, documents)
    yield from suites.by_hand(replace(bench, window=window))


def compare_tokenizers(server: LiveServer, model: Path, work: Path) -> Iterator[Verdict]:
    """Compare on a tiny model with a tokenizer that adds BOS, and one that merges over spaces."""
    merging = checkpoints.write_merging_tokenizer(work / "merging")
    for name, tokenizer, bos in (
        ("BOS-adding", model, False), ("BOS added", model, True), ("merging", merging, False),
    ):  # fmt: skip
        bench = Bench(
            server, tokenizer, LIMITS[server.record.dtype or "float32"], add_bos_token=bos
        )
        for verdict in suites.by_hand(bench):
            verdict.name = f"{name}: {verdict.name}"
            yield verdict


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, nargs="+", help="checkpoints; the sample's if empty")
    parser.add_argument("--dtype", choices=sorted(LIMITS), default="float32")
    parser.add_argument("--documents", type=int, default=10, help="of each (sub)task")
    given = parser.parse_args()
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="assay-exactness-") as name:
        work = Path(name)
        environment = ensure(
            "vllm", detect("auto").kind, settings=Settings(), progress=Silent(),
            log=work / "build.log",
        )  # fmt: skip
        models = given.model or [SAMPLE, checkpoints.write_awq(SAMPLE, work / "sample-awq")]
        suite = suites.load_suite(work / "cache")
        for model in map(Path.resolve, models):
            log = work / f"{model.name}.log"
            with served(model, given.dtype, environment, log) as server:
                dtype = server.record.dtype
                print(f"\n{model} in {dtype}", flush=True)
                found = list(compare_checkpoint(server, model, suite, given.documents))
            print(table(found), flush=True)
            verdicts += found
            if dtype == "float32" or detect("auto").kind != "cpu":
                continue
            with served_alone(model, given.dtype, environment, log) as server:
                print(f"\n{model} in {dtype}, one request at a time on one thread", flush=True)
                strict = LIMITS["float32"]
                found = list(
                    compare_checkpoint(server, model, suite, given.documents, limits=strict)
                )
            print(table(found), flush=True)
            verdicts += found
        tiny = tiny_model.write(work / "tiny")
        with served(tiny, given.dtype, environment, work / "tiny.log") as server:
            print(f"\na tiny random model in {server.record.dtype}", flush=True)
            found = list(compare_tokenizers(server, tiny, work))
        print(table(found), flush=True)
        verdicts += found
    wrong = sum(not verdict.equal for verdict in verdicts)
    print(f"\n{wrong} of {len(verdicts)} cases differ" if wrong else "\nequal")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
