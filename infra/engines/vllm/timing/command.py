"""Runs `bench_serve.py` beside a server, and watches both."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from pydantic import ValidationError

from infra.contracts.errors import ProcessError, ProcessTimedOut
from infra.contracts.progress import Progress
from infra.engines.endpoint import ServedEndpoint
from infra.engines.port import Setup
from infra.engines.timing import Point, Timing, Worker, left_out
from infra.engines.vllm.command import inherited
from infra.engines.vllm.timing.arguments import Target, arguments, seed, warm_up
from infra.engines.vllm.timing.results import Response, Result, doubts, speed_point
from infra.machine.log_lines import tail
from infra.machine.processes import describe_exit, start
from infra.store.content import write_atomically

WORKER = Path(__file__).with_name("bench_serve.py")
PROTOCOL = 4

_LOOK_SECONDS = 1.0
_POINT_SECONDS = 3600.0
"""A point may take this long; a model that writes one token a second needs it for 28 answers."""
_BAR = re.compile(r"\| (\d+)/(\d+) \[")
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


@contextmanager
def worker(setup: Setup, server: ServedEndpoint, *, folder: Path, log: Path) -> Iterator[Worker]:
    """Have what times a server while the block runs; it waits to be told what to time."""
    folder.mkdir(parents=True, exist_ok=True)
    asked, answered = folder / "request.json", folder / "response.json"
    for left in (asked, answered):
        left.unlink(missing_ok=True)
    command = [
        str(word) for word in (setup.environment.python, "-I", "-u", WORKER, asked, answered)
    ]
    with start(command, log=log, env=_environment(server)) as child:
        yield Worker(child, folder)


def time_points(
    setup: Setup,
    server: ServedEndpoint,
    points: Sequence[Point],
    *,
    budget_seconds: float | None,
    folder: Path,
    log: Path,
    progress: Progress,
    ahead: Worker | None = None,
) -> Timing:
    """See `port.Engine.time`. All points are timed by one process, without any none is started."""
    target = Target(
        url=server.base_url.removesuffix("/v1"),
        model_name=server.model,
        tokenizer=setup.checkpoint,
        trust_remote_code=setup.trust_remote_code,
    )
    results: list[Result] = []
    if points:
        meter = server.meter.command if server.meter else None
        asked = request(points, target, budget_seconds, meter)
        there = (
            worker(setup, server, folder=folder, log=log) if ahead is None else nullcontext(ahead)
        )
        with there as one:
            results = _measure(points, asked, server, one, progress)
    timed = list(zip(points, results, strict=False))
    found = [
        f"{point.what}: {doubt}; see {log}"
        for point, result in timed
        for doubt in doubts(point, result)
    ]
    return Timing(
        points=tuple(speed_point(point, result, server.meter) for point, result in timed),
        doubts=(*found, *left_out(points[len(results) :], budget_seconds)),
        command=("vllm", "bench", "serve", *arguments(points[0], target)) if points else (),
    )


def _measure(
    points: Sequence[Point],
    asked: Mapping[str, object],
    server: ServedEndpoint,
    worker: Worker,
    progress: Progress,
) -> list[Result]:
    log = worker.child.log
    write_atomically(worker.folder / "request.json", json.dumps(asked, indent=2))
    started = time.monotonic()
    deadline = started + _POINT_SECONDS * len(points)
    while (code := worker.child.wait(_LOOK_SECONDS)) is None:
        progress.update(*_news(log, int(time.monotonic() - started)))
        server.raise_if_dead()
        if time.monotonic() > deadline:
            raise ProcessTimedOut(
                f"The timing did not finish within {deadline - started:g} seconds.",
                remedy="Lower speed.requests or speed.output_tokens.",
            )
    try:
        fewer = asked["budget_seconds"] is not None
        results = _results(points, code, worker.folder / "response.json", log, fewer=fewer)
    except ProcessError:
        server.raise_if_failing()
        raise
    if any(result.failed for result in results):
        server.raise_if_failing()
    return results


def request(
    points: Sequence[Point],
    target: Target,
    budget_seconds: float | None,
    meter: Sequence[str] | None = None,
) -> dict[str, object]:
    """Return the worker's request: every point once to warm up, and then to be timed.

    Args:
        points: Where to measure.
        target: Who is timed.
        budget_seconds: After so many no point begins but the first; none for all.
        meter: Command that reads what the accelerators have taken; none where nobody can tell.
    """
    runs: list[dict[str, object]] = []
    for point in points:
        warming = f"warming up, {point.what}"
        runs += [
            {"what": warming, "arguments": warm_up(point, target), "timed": None},
            {
                "what": point.what,
                "arguments": arguments(point, target),
                "timed": {
                    "part": point.part,
                    "most": point.requests,
                    "precision": point.precision,
                    "seed": seed(point),
                },
            },
        ]
    return {
        "version": PROTOCOL,
        "budget_seconds": budget_seconds,
        "meter": None if meter is None else [*meter],
        "runs": runs,
    }


def _environment(server: ServedEndpoint) -> dict[str, str]:
    clean = inherited()
    # The server is on loopback, and the client would go through a proxy even there.
    direct = {name: clean[name] for name in clean if not name.lower().endswith("_proxy")}
    key = server.headers["Authorization"].removeprefix("Bearer ")
    return direct | _ENVIRONMENT | {"OPENAI_API_KEY": key}


def _news(log: Path, seconds: int) -> tuple[str, int, int | None, str]:
    """Return what the worker is doing, and how many requests of it are answered."""
    answered: tuple[int, int] | None = None
    for line in reversed(tail(log, 100).splitlines()):
        if phase := _phase(line):
            what = f"timing: {phase}"
            return (what, *answered, "requests") if answered else (what, seconds, None, "s")
        if answered is None and (bar := _BAR.search(line)):
            answered = int(bar[1]), int(bar[2])
    return "timing", seconds, None, "s"


def _phase(line: str) -> str | None:
    if not line.startswith('{"event"'):
        return None
    try:
        return str(json.loads(line)["phase"])
    except (ValueError, KeyError):
        return None  # torn: it is being written, or something else wrote into it


def _results(
    points: Sequence[Point], code: int, answered: Path, log: Path, *, fewer: bool
) -> list[Result]:
    """Read what the worker left.

    Args:
        points: What was to be timed.
        code: The worker's exit code.
        answered: Its response.
        log: Of it.
        fewer: Whether its budget may have left no time for the last of them.
    """
    if code != 0:
        raise _failed(f"ended with {describe_exit(code)}", log)
    try:
        results = Response.model_validate_json(answered.read_bytes()).results
    except OSError:
        raise _failed("left no result", log) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise _failed(f"left a result that cannot be read ({place}: {first['msg']})", log) from None
    if len(results) != len(points) and not (fewer and 0 < len(results) < len(points)):
        raise _failed(f"timed {len(results)} of {len(points)} points", log)
    for point, result in zip(points, results, strict=False):
        if not result.completed:
            raise _failed(f"got no answer to {point.requests} requests ({point.what})", log)
    return results


def _failed(what: str, log: Path) -> ProcessError:
    return ProcessError(
        f"`vllm bench serve` {what}.",
        cause=f"Its log ends with:\n{tail(log, 8)}",
        remedy=f"Read {log}, and the server's log beside it.",
    )
