"""Times the server by its stream: random prompts of token ids, answers all of one length.

llama.cpp's own benchmark loads the model by itself and asks no server. Points, prompts and metrics
are those of vLLM's: time to the first token, time a token after it, tokens a second over all.
Nothing comes from a prompt cache: it is switched off, and no two prompts begin alike. A run with
other prompts warms up.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from infra.contracts.errors import ProcessError
from infra.contracts.progress import Progress
from infra.contracts.records import SpeedPoint
from infra.engines.connection import connect
from infra.engines.endpoint import ServedEndpoint
from infra.engines.port import Setup
from infra.engines.timing import Point, Timing, half_width, left_out
from infra.machine.energy import Tally
from infra.machine.ticker import Ticker
from infra.store.content import digest_of

_ANSWER_SECONDS = 3600.0
_WARM_UP_TOKENS = 16
_OFF = 0.1
"""Share by which answers may be shorter than what was asked for."""


class _Answer(NamedTuple):
    """One answer that came whole. Times are in seconds."""

    first: float
    """From the request to the first token."""

    whole: float
    """From the request to the last one."""

    tokens: int


def time_points(
    setup: Setup,
    server: ServedEndpoint,
    points: Sequence[Point],
    *,
    budget_seconds: float | None,
    log: Path,
    progress: Progress,
) -> Timing:
    """See `port.Engine.time`."""
    vocabulary = _vocabulary(setup.checkpoint)
    measured: list[SpeedPoint] = []
    doubts: list[str] = []
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as lines:
        for point in points:
            if measured and time.monotonic() - began > (budget_seconds or math.inf):
                break
            short = min(point.output_tokens, _WARM_UP_TOKENS)
            warm = point.model_copy(update={"requests": point.concurrency, "output_tokens": short})
            _run(warm, "warm-up", server, vocabulary, progress)
            tally = Tally(server.meter)
            with tally.span():
                started = time.monotonic()
                answers, failures = _timed(point, server, vocabulary, progress)
                seconds = time.monotonic() - started
            for text in (*map(str, answers), *failures):
                print(point.what, text, file=lines)
            if not answers:
                server.raise_if_failing()
                raise ProcessError(
                    f"There was no answer to {point.requests} requests ({point.what}).",
                    cause=failures[0] if failures else "",
                    remedy=f"Read {log}, and the server's log beside it.",
                )
            measured.append(_speed(point, answers, len(failures), seconds, tally.joules))
            found = _doubts(point, answers, len(failures))
            doubts += [f"{point.what}: {doubt}; see {log}" for doubt in found]
    doubts += left_out(points[len(measured) :], budget_seconds)
    return Timing(tuple(measured), tuple(doubts), _command(points[0]) if points else ())


def _timed(
    point: Point, server: ServedEndpoint, vocabulary: int, progress: Progress
) -> tuple[list[_Answer], list[str]]:
    """Ask part after part, until the time of a request is known well enough."""
    answers: list[_Answer] = []
    failures: list[str] = []
    for begun in range(0, point.requests, point.part):
        part = point.model_copy(update={"requests": min(point.part, point.requests - begun)})
        more, failed = _run(part, f"timed from {begun}", server, vocabulary, progress)
        answers += more
        failures += failed
        known = half_width([answer.whole for answer in answers])
        if failures or (known is not None and known <= point.precision):
            break
    return answers, failures


def _run(
    point: Point, purpose: str, server: ServedEndpoint, vocabulary: int, progress: Progress
) -> tuple[list[_Answer], list[str]]:
    """Ask all of a point's requests, so many at a time; return answers, and what failed."""
    chance = random.Random(  # noqa: S311
        digest_of([purpose, point.input_tokens, point.output_tokens, point.concurrency])
    )
    # Special tokens have the lowest or the highest numbers.
    usual = range(vocabulary // 4, max(vocabulary * 3 // 4, vocabulary // 4 + 1))
    prompts = [chance.choices(usual, k=point.input_tokens) for _ in range(point.requests)]
    answers: list[_Answer] = []
    failures: list[str] = []

    def one(prompt: list[int]) -> None:
        try:
            answers.append(_ask(server, prompt, point.output_tokens))
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            failures.append(f"{type(error).__name__}: {error}")

    def news() -> None:
        done = len(answers) + len(failures)
        progress.update(f"timing: {purpose}, {point.what}", done, point.requests, "requests")

    pool = ThreadPoolExecutor(point.concurrency)
    with Ticker(1.0, news):
        try:
            waiting: set[Future[None]] = {pool.submit(one, prompt) for prompt in prompts}
            while waiting:
                server.raise_if_dead()
                _, waiting = wait(waiting, timeout=0.5)
        finally:
            # Whoever waits for a server that hangs is freed when that is ended.
            pool.shutdown(wait=False, cancel_futures=True)
    return answers, failures


def _ask(server: ServedEndpoint, prompt: list[int], tokens: int) -> _Answer:
    """Ask for a text, and note when its tokens come.

    Raises:
        ValueError: It did not end as a stream ends.
    """
    body = {
        "model": server.model,
        "prompt": prompt,
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "cache_prompt": False,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    started = time.monotonic()
    first = last = 0.0
    written: int | None = None
    with (
        connect(server.base_url, server.headers, seconds=_ANSWER_SECONDS) as client,
        client.stream("POST", "/completions", json=body) as response,
    ):
        response.raise_for_status()
        for event in _events(response.iter_lines()):
            last = time.monotonic() - started
            first = first or last
            written = (event.get("usage") or {}).get("completion_tokens", written)
    if not written:
        raise ValueError("the stream ended without saying how many tokens it had")
    return _Answer(first, last, written)


def _events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        text = line.removeprefix("data:").strip()
        if line.startswith("data:") and text != "[DONE]":
            yield json.loads(text)


def _speed(
    point: Point, answers: Sequence[_Answer], failed: int, seconds: float, joules: float | None
) -> SpeedPoint:
    times = tuple(
        (
            1000 * answer.first,
            1000 * (answer.whole - answer.first) / (answer.tokens - 1)
            if answer.tokens > 1
            else None,
        )
        for answer in answers
    )
    firsts = [first for first, _ in times]
    between = [further for _, further in times if further is not None]
    written = sum(answer.tokens for answer in answers)
    read = point.input_tokens * len(answers)
    return SpeedPoint(
        input_tokens=point.input_tokens,
        output_tokens=point.output_tokens,
        concurrency=point.concurrency,
        requests=len(answers),
        failed=failed,
        ttft_ms_median=_quantile(firsts, 0.5),
        ttft_ms_p99=_quantile(firsts, 0.99),
        tpot_ms_median=_quantile(between, 0.5),
        tpot_ms_p99=_quantile(between, 0.99),
        output_tokens_per_second=written / seconds,
        total_tokens_per_second=(written + read) / seconds,
        requests_per_second=len(answers) / seconds,
        seconds=seconds,
        half_width=half_width([answer.whole for answer in answers]),
        answers=times,
        joules=joules,
    )


def _quantile(values: Sequence[float], share: float) -> float:
    """Return a quantile, between its neighbours in proportion; 0 of nothing."""
    if not values:
        return 0.0
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _doubts(point: Point, answers: Sequence[_Answer], failed: int) -> Iterator[str]:
    if failed:
        yield f"{failed} of {len(answers) + failed} requests failed"
    written = sum(answer.tokens for answer in answers) / len(answers)
    if abs(written - point.output_tokens) > _OFF * point.output_tokens:
        yield f"answers had {written:.0f} tokens instead of {point.output_tokens}"


def _command(point: Point) -> tuple[str, ...]:
    """Return what was measured, in the place of a command: there is none."""
    return (
        "streamed", "requests",
        "--input-tokens", str(point.input_tokens), "--output-tokens", str(point.output_tokens),
        "--concurrency", str(point.concurrency), "--requests", str(point.requests),
    )  # fmt: skip


def _vocabulary(folder: Path) -> int:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(config.get("vocab_size") or config["text_config"]["vocab_size"])
