"""How `vllm bench serve` times one point: pure functions of the spec.

Prompts are random tokens, answers all of one length whatever the model would say, so that all arms
do the same work. Nothing may come from the engine's prefix cache: prompts share no beginning, every
point has prompts of its own, and `cache_salt` keeps those of other points from being found even
where a tiny vocabulary makes them alike. vLLM's own `--num-warmups` asks the first of the timed
prompts, which is then in the cache; here a run of its own, with other prompts, warms up.
"""

from __future__ import annotations

import json
from pathlib import Path

from infra.contracts.records import Record
from infra.engines.timing import Point
from infra.store.content import digest_of

WARM_UP_TOKENS = 16
"""Of a warm-up's answers: enough for every shape that is computed later."""


class Target(Record):
    """Who is timed."""

    url: str
    """Without `/v1`."""

    model_name: str
    """The server's name for the model."""

    tokenizer: Path
    """Folder of the model."""

    trust_remote_code: bool


def arguments(point: Point, target: Target) -> tuple[str, ...]:
    """Return what follows `vllm bench serve` to time one point. It holds no secret."""
    return _arguments(point, target, "timed")


def warm_up(point: Point, target: Target) -> tuple[str, ...]:
    """Return what follows `vllm bench serve` to ask a point's shapes once, with other prompts."""
    short = {
        "requests": point.concurrency,
        "output_tokens": min(point.output_tokens, WARM_UP_TOKENS),
    }
    return _arguments(point.model_copy(update=short), target, "warm-up")


def seed(point: Point) -> int:
    """Return the seed of a point's first prompts."""
    return int(_place(point, "timed")[:8], 16)


def _place(point: Point, purpose: str) -> str:
    return digest_of([purpose, point.input_tokens, point.output_tokens, point.concurrency])


def _arguments(point: Point, target: Target, purpose: str) -> tuple[str, ...]:
    place = _place(point, purpose)
    options = {
        "backend": "openai",
        "base-url": target.url,
        "endpoint": "/v1/completions",
        "model": target.model_name,
        "tokenizer": target.tokenizer,
        "dataset-name": "random",
        "random-input-len": point.input_tokens,
        "random-output-len": point.output_tokens,
        "random-prefix-len": 0,
        "random-range-ratio": 0,
        "num-prompts": point.requests,
        "max-concurrency": point.concurrency,
        "num-warmups": 0,
        "ready-check-timeout-sec": 0,
        "seed": int(place[:8], 16),
        "temperature": 0,
        "extra-body": json.dumps({"cache_salt": place[:16]}),
        "percentile-metrics": "ttft,tpot",
        "metric-percentiles": "99",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    if target.trust_remote_code:
        words.append("--trust-remote-code")
    return (*words, "--ignore-eos")
