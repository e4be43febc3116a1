"""Time a server with `vllm bench serve`, run after run: one JSON file in, one JSON file out.

    OPENAI_API_KEY=… python -I -u bench_serve.py REQUEST.json RESPONSE.json

Runs in the server's environment and imports nothing of ours. It may be started before there is a
request: it loads vLLM, which takes 10 to 20 seconds, and then waits for the file. The request
(version 4):

    {"version": 4, "budget_seconds": float or null, "meter": [text, …] or null,
        "runs": [{"what": text, "arguments": [text, …], "timed": null or
        {"part": int, "most": int, "precision": float, "seed": int}}, …]}

`arguments` are those of the command line after `vllm bench serve`. A timed run asks `part` requests
at a time, each part with prompts of its own, until the half-width of the 95 % interval of a
request's mean time is at most `precision` of that mean, or `most` were asked. Once `budget_seconds`
have passed since vLLM was loaded no warm-up begins, nor what it is for. `meter` is a command that
prints what the accelerators have taken so far; it is run where no request is asked. The response:
`results`, of every timed run what the command saves with `--save-result`, over all its parts,
`half_width`, as `answers` of each request the milliseconds to its first token and for each further
one (null of an answer of one token), and as `readings` of each part what the meter printed before
and after it (none without a meter, or where it cannot be run close enough). A run that fails ends
all of them, with a traceback and exit code 1. Lines on stdout that start with `{"event"` tell of
progress.

The command itself would import vLLM again for every run, 10 to 20 seconds each time, and does not
start at all with the CPU build, whose distribution has another name than it asks for.
"""

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

VERSION = 4
METER_SECONDS = 5.0
TWO_SIDED = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
"""95 % quantiles of Student's t with 1, 2, … degrees of freedom; the last one for all above."""


def main():
    """Do all runs of the request, and write the response."""
    request_file, response_file = map(Path, sys.argv[1:])
    tell("loading vLLM", 0, None)
    from vllm.benchmarks import serve
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    while not request_file.exists():
        time.sleep(0.05)
    request = json.loads(request_file.read_text(encoding="utf-8"))
    if request["version"] != VERSION:
        sys.exit(f"this is version {VERSION}, not {request['version']}")
    runs = request["runs"]
    parser = FlexibleArgumentParser(prog="vllm bench serve")
    serve.add_cli_args(parser)
    results = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for number, run in enumerate(runs):
            spent = time.monotonic() - began
            if not run["timed"] and results and spent > (request["budget_seconds"] or math.inf):
                break
            tell(run["what"], number, len(runs))

            def ask(*more, arguments=run["arguments"]):
                saved = ["--save-result", "--save-detailed", "--result-dir", folder]
                name = ["--result-filename", "result.json"]
                serve.main(parser.parse_args([*arguments, *more, *saved, *name]))
                return json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))

            if run["timed"]:
                with metered(serve, request["meter"]) as readings:
                    results.append({**timed(ask, **run["timed"]), "readings": readings})
            else:
                ask()
    response = {"version": VERSION, "results": results}
    response_file.write_text(json.dumps(response, indent=2), encoding="utf-8")


@contextmanager
def metered(serve, meter):
    """Have a meter read right before and after each benchmark of the block, not while it runs.

    Around all of the command one would measure how it loads a tokenizer and makes prompts, which is
    a second or two of nothing.

    Args:
        serve: The module of the command, whose `benchmark` asks the requests.
        meter: Command that prints a reading; none reads nothing.
    """
    readings = []
    benchmark = getattr(serve, "benchmark", None)
    if meter is None or benchmark is None:
        yield readings
        return

    async def between(*given, **named):
        before = reading(meter)
        result = await benchmark(*given, **named)
        readings.append([before, reading(meter)])
        return result

    serve.benchmark = between
    try:
        yield readings
    finally:
        serve.benchmark = benchmark


def reading(meter):
    """Return what a meter prints; nothing if it cannot be run."""
    try:
        found = subprocess.run(
            meter, capture_output=True, text=True, timeout=METER_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout


def timed(ask, part, most, precision, seed):
    """Ask part after part until the time of a request is known well enough; return all of them.

    Args:
        ask: Runs the command with further arguments and returns what it saved.
        part: Requests of each part.
        most: Requests of all parts.
        precision: Half-width of the interval that is enough, as a share of the mean.
        seed: Of the first part; the next one has the next.
    """
    parts = []
    while True:
        left = most - part * len(parts)
        parts.append(ask("--num-prompts", str(min(part, left)), "--seed", str(seed + len(parts))))
        whole = together(parts)
        known = whole["half_width"] is not None and whole["half_width"] <= precision
        # Whatever fails once fails again, and takes as long.
        if left <= part or known or whole["failed"]:
            return whole


def together(parts):
    """Return one result of several, in the command's own names; its metrics as it defines them."""
    whole = {
        name: sum(one[name] for one in parts)
        for name in ("completed", "failed", "duration", "total_input_tokens", "total_output_tokens")
    }
    answers = [
        (first, sum(gaps), tokens)
        for one in parts
        for first, gaps, tokens in zip(one["ttfts"], one["itls"], one["output_lens"], strict=True)
        if tokens
    ]
    seconds = whole["duration"]
    return {
        **whole,
        **percentiles("ttft_ms", [first for first, _, _ in answers]),
        **percentiles("tpot_ms", [rest / (n - 1) for _, rest, n in answers if n > 1]),
        "output_throughput": whole["total_output_tokens"] / seconds,
        "total_token_throughput": (whole["total_input_tokens"] + whole["total_output_tokens"])
        / seconds,
        "request_throughput": whole["completed"] / seconds,
        "half_width": half_width([first + rest for first, rest, _ in answers]),
        "answers": [
            [1000 * first, 1000 * rest / (n - 1) if n > 1 else None] for first, rest, n in answers
        ],
    }


def percentiles(name, seconds):
    """Return median and 99th percentile in milliseconds; zero of nothing, as the command says."""
    ordered = sorted(1000 * one for one in seconds) or [0.0]

    def at(share):
        place = share * (len(ordered) - 1)
        below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
        return below + (above - below) * (place - math.floor(place))

    return {f"median_{name}": at(0.5), f"p99_{name}": at(0.99)}


def half_width(seconds):
    """Return that of the 95 % interval of the mean, as a share of it; none of fewer than two."""
    if len(seconds) < 2 or not statistics.fmean(seconds):
        return None
    t = TWO_SIDED[min(len(seconds) - 1, len(TWO_SIDED)) - 1]
    mean = statistics.fmean(seconds)
    return t * statistics.stdev(seconds) / math.sqrt(len(seconds)) / mean


def tell(phase, done, total):
    """Tell which run begins."""
    event = {"event": "progress", "phase": phase, "done": done, "total": total, "unit": "runs"}
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    main()
