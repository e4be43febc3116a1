"""Documents a second of lm-eval's `local-completions` and of `assay-completions`, on one server.

    python -m tests.benchmarks.scoring [--shapes NAME …] [--documents N] [--repeats N]
        [--concurrency N …] [--dtype NAME | --url http://…/v1 --tokenizer FOLDER]

Starts a vLLM server on the sample model, or asks one that runs (its key in OPENAI_API_KEY). In
every repeat each shape is scored by stock one request at a time, by stock at each concurrency, and
by ours, with nothing of one in the prefix cache of the other. The same answers are compared.
Tables go to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from infra.contracts.specs import ServingSpec
from infra.engines.vllm.server import serve
from infra.machine.device import detect
from infra.machine.environments import ensure
from infra.store.settings import Settings
from tests.benchmarks.measuring import Job, Measured, Target, measure, workers
from tests.benchmarks.tables import Agreement, Limit, Run, agreement, tables
from tests.scoring_shapes import SHAPES

SAMPLE = Path(__file__).parents[2] / "infra" / "sample" / "model"
_COUNTERS: dict[str, tuple[str, dict[str, str]]] = {
    "requests": ("http_requests_total", {"handler": "/v1/completions"}),
    "sequences": ("vllm:request_success_total", {}),
    "prompt_tokens": ("vllm:prompt_tokens_total", {}),
    "cached_tokens": ("vllm:prefix_cache_hits_total", {}),
    "preemptions": ("vllm:num_preemptions_total", {}),
}


@dataclass(frozen=True, slots=True)
class Way:
    """A client and how it is used."""

    name: str
    client: str
    concurrency: int | None
    part: int
    """It scores one document out of so many."""


class Said:
    """Prints what is said to stderr."""

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        pass


def main() -> int:
    given = _arguments()
    progress = Said()
    ways = [
        Way("stock, 1", "stock", 1, given.part),
        *(Way(f"stock, {n}", "stock", n, 1) for n in given.concurrency),
        Way("ours", "ours", None, 1),
    ]
    runs: list[Run] = []
    agreements: dict[str, Agreement] = {}
    limit = Limit(given.parameters, given.peak_tflops * 1e12) if given.parameters else None
    with _target(given, progress) as target, workers() as executor:
        for shape in given.shapes:
            for way in ways:
                _run(
                    executor, target, shape, way, 4 * way.part, progress
                )  # nobody pays for a first
            for repeat in range(given.repeats):
                answers = {}
                # Whatever drifts on the machine drifts against each in turn.
                for way in ways if repeat % 2 == 0 else reversed(ways):
                    found, measured = _run(executor, target, shape, way, given.documents, progress)
                    runs.append(found)
                    answers[way.name] = measured.answers
                if repeat == 0:
                    agreements[shape] = agreement(answers)
    print(tables(runs, agreements, limit))
    if given.json:
        raw = {
            "runs": [asdict(run) for run in runs],
            "agreement": {shape: asdict(found) for shape, found in agreements.items()},
        }
        given.json.write_text(json.dumps(raw, indent=1), encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES), metavar="NAME")
    add("--documents", type=int, default=128, help="scored by each client (default 128)")
    add("--part", type=int, default=4, help="stock, 1 scores one of so many")
    add("--repeats", type=int, default=3)
    add("--concurrency", type=int, nargs="+", default=[16, 64], help="of stock")
    add("--model", type=Path, default=SAMPLE, help="folder of the model to serve")
    add("--dtype", default="bfloat16", help="what the model is served in")
    add("--url", help="ask this server instead, ending in /v1")
    add("--tokenizer", type=Path, help="folder of its tokenizer")
    add("--parameters", type=float, default=0.0, help="of the model, to print the share of …")
    add("--peak-tflops", type=float, default=790.0, help="… what the accelerator can do")
    add("--json", type=Path, help="file for the single measurements")
    given = parser.parse_args()
    if given.url and not given.tokenizer:
        parser.error("--url needs --tokenizer")
    return given


@contextmanager
def _target(given: argparse.Namespace, progress: Said) -> Iterator[Target]:
    if given.url:
        # An empty key is no legal header; a server without one takes any.
        key = {"Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY') or 'none'}"}
        listed = httpx.get(f"{given.url}/models", headers=key, trust_env=False).raise_for_status()
        model = listed.json()["data"][0]
        yield Target(given.url, model["id"], str(given.tokenizer), model["max_model_len"])
        return
    with tempfile.TemporaryDirectory(prefix="assay-benchmark-") as work:
        device, log = detect("auto"), Path(work) / "build.log"
        environment = ensure("vllm", device.kind, settings=Settings(), progress=progress, log=log)
        with serve(
            given.model, arm="baseline", spec=ServingSpec(dtype=given.dtype),
            concurrency=max(given.concurrency), environment=environment, device=device,
            trust_remote_code=False, log=Path(work) / "server.log", progress=progress,
        ) as server:  # fmt: skip
            os.environ["OPENAI_API_KEY"] = server.api_key.get_secret_value()
            yield Target(server.base_url, server.model, str(given.model), server.window)


def _run(
    executor: Executor, target: Target, shape: str, way: Way, documents: int, progress: Said
) -> tuple[Run, Measured]:
    documents = max(1, documents // way.part)
    salt = secrets.token_hex(16)
    job = Job(target, way.client, shape, documents, way.concurrency, salt)  # type: ignore[arg-type]
    before = _counters(target)
    measured = executor.submit(measure, job).result()
    after = _counters(target)
    counted = {name: after[name] - before[name] for name in before}
    run = Run(shape, way.name, documents, measured.seconds, measured.cpu_seconds, **counted)
    progress.say(
        f"{shape:16} {way.name:10} {documents:5} documents in {run.seconds:6.2f} s, "
        f"{documents / run.seconds:7.2f} a second"
    )
    return run, measured


def _counters(target: Target) -> dict[str, float]:
    address = f"{target.base_url.removesuffix('/v1')}/metrics"
    text = httpx.get(address, trust_env=False, timeout=60).raise_for_status().text
    samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
    return {
        name: sum(
            each.value
            for each in samples
            if each.name == counter and labels.items() <= each.labels.items()
        )
        for name, (counter, labels) in _COUNTERS.items()
    }


if __name__ == "__main__":
    sys.exit(main())
