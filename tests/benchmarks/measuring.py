"""One measurement: a client scores a workload in a process of its own."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from types import FrameType
from typing import Any, Literal

from tests.scoring_shapes import build

_SAMPLE_SECONDS = 0.001
_MARKS = {
    "tokenizing": ("/tokenizers/", "/transformers/", "_encode", "tok_encode"),
    "JSON and reading": ("/json/", "protocol.py", "parse_logprobs", "client.py:_post"),
    "network": ("/aiohttp/", "/asyncio/", "/requests/", "/urllib3/", "/http/", "/multidict/",
                "/yarl/", "selectors.py", "socket.py", "/tenacity/", "/uvloop/"),
}  # fmt: skip
"""Part of the work → what in the file or function of the innermost telling frame says so."""

PARTS = (*_MARKS, "bookkeeping")


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and how its model splits texts."""

    base_url: str
    """With `/v1`."""

    model: str
    tokenizer: str
    """Folder."""

    max_length: int


@dataclass(frozen=True, slots=True)
class Job:
    """What to measure."""

    target: Target
    client: Literal["stock", "ours"]
    shape: str
    documents: int
    concurrency: int | None = None
    """Requests in flight; none: the client's own choice."""

    salt: str = ""
    """Keeps the server's prefix cache from what other measurements left in it."""

    profile: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """What came out."""

    seconds: float
    cpu_seconds: float
    """Of the client's process, while it scored."""

    answers: list[Any]
    """(log-likelihood, is_greedy) of each choice, or texts."""

    shares: dict[str, float]
    """Part of the work → its share of the client's processor time, if asked for."""


@contextmanager
def workers() -> Iterator[ProcessPoolExecutor]:
    """Yield an executor of one process, in which clients run one after the other.

    What is imported stays imported; the client and its tokenizer are new for each measurement.
    """
    os.environ |= {"TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "true"}
    os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "LMEVAL_LOG_LEVEL": "ERROR"}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        yield executor


def measure(job: Job) -> Measured:
    """Score the workload once. Building requests, client and tokenizer is not counted."""
    instances = build(job.shape, job.documents, _encoder(job.target.tokenizer))
    model = _client(job)
    act = model.generate_until if job.shape == "generation" else model.loglikelihood
    gc.collect()
    with _sampled(job.profile) as spent:
        cpu, began = time.process_time(), time.perf_counter()
        answers = act(instances, disable_tqdm=True)
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    total = sum(spent.values()) or 1
    shares = {part: found / total for part, found in spent.items()}
    return Measured(seconds, cpu_seconds, list(answers), shares)


@cache
def _encoder(folder: str) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return lambda texts: tokenizer(list(texts), add_special_tokens=False).input_ids


def _client(job: Job) -> Any:
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    options: dict[str, Any] = {
        "base_url": f"{job.target.base_url}/completions",
        "model": job.target.model,
        "tokenizer": job.target.tokenizer,
        "tokenizer_backend": "huggingface",
        "max_length": job.target.max_length,
    }
    if job.concurrency is not None:
        options["num_concurrent"] = job.concurrency
    salt = {"cache_salt": job.salt} if job.salt else {}
    if job.client == "ours":
        from infra.scoring import protocol
        from infra.scoring.model import AssayCompletions

        original = _original("body")
        protocol.body = lambda *given, **named: {**original(*given, **named), **salt}
        return AssayCompletions(**options)

    class Salted(LocalCompletionsAPI):  # type: ignore[misc]
        def _create_payload(self, *given: Any, **named: Any) -> dict[str, Any]:
            return {**super()._create_payload(*given, **named), **salt}

    return Salted(**options)


@cache
def _original(name: str) -> Any:
    from infra.scoring import protocol

    return getattr(protocol, name)


@contextmanager
def _sampled(wanted: bool) -> Iterator[dict[str, float]]:
    """Look every millisecond of processor time at what the main thread does, and add that time."""
    spent: defaultdict[str, float] = defaultdict(float)
    last = time.process_time()
    if not wanted:
        yield spent
        return

    def look(number: int, frame: FrameType | None) -> None:
        # A look has to wait while a C function runs: what it took belongs to its caller.
        nonlocal last
        last, before = time.process_time(), last
        spent[_part(frame)] += last - before

    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, _SAMPLE_SECONDS, _SAMPLE_SECONDS)
    try:
        yield spent
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _part(frame: FrameType | None) -> str:
    while frame is not None:
        where = f"{frame.f_code.co_filename}:{frame.f_code.co_name}"
        for part, marks in _MARKS.items():
            if any(mark in where for mark in marks):
                return part
        if "/lm_eval/" in where or "/infra/scoring/" in where:
            return "bookkeeping"
        frame = frame.f_back
    return "bookkeeping"
