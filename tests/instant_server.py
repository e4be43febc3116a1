"""A completions server that answers at once, so that what is left to measure is the client.

    python -m tests.instant_server [--port N] [--likely ID …]

It speaks as vLLM does: batches of prompts, `echo` with `logprobs`, `logprob_token_ids`,
generation, models, version and metrics. Probabilities are a function of the tokens before and the
token itself, the same in an echo and in a read. Prints its URL when it listens.
"""

from __future__ import annotations

import argparse
import array
import asyncio
import json
import struct
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
MODEL = "instant"
MAX_MODEL_LEN = 4096

_STEPS = 4096


def _numbers(low: float, high: float) -> list[str]:
    """Return evenly spaced 32-bit numbers as vLLM writes them."""
    step = (high - low) / _STEPS
    exact = (struct.unpack("f", struct.pack("f", low + step * i))[0] for i in range(_STEPS))
    return [repr(number) for number in exact]


_OTHERS, _LIKELIEST = _numbers(-16.0, -1.0), _numbers(-0.9, -0.1)


class Oracle:
    """Log-probabilities as JSON numbers, by the checksum of all tokens before."""

    def __init__(self, likely: Sequence[int]) -> None:
        """Begin; the likeliest token is always one of `likely`."""
        self._likely = likely

    @staticmethod
    def state(tokens: Sequence[int], before: int = 0) -> int:
        """Return the checksum of tokens, which goes on from that of the tokens before them."""
        return zlib.crc32(array.array("I", tokens), before)

    def likeliest(self, state: int) -> int:
        """Return the token that a greedy model generates."""
        return self._likely[(state * 0xC2B2AE35 >> 16) % len(self._likely)]

    def score(self, state: int, token: int) -> str:
        """Return the log-probability of a token."""
        if token == self.likeliest(state):
            return _LIKELIEST[state >> 7 & _STEPS - 1]
        return _OTHERS[(state ^ token * 0x9E3779B1) * 0x85EBCA6B >> 20 & _STEPS - 1]


class Answers:
    """Makes the bodies of answers, and counts as vLLM's metrics do."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self.counts: Counter[str] = Counter()

    def complete(self, request: dict[str, Any]) -> tuple[int, str]:
        """Return status and body for a completion request."""
        prompts = request["prompt"]
        if isinstance(prompts, str) or isinstance(prompts[0], int):
            prompts = [prompts]
        prompts = [list(p.encode()) if isinstance(p, str) else p for p in prompts]
        limit = request.get("max_tokens", 16)
        lengths = list(map(len, prompts))
        if min(lengths) < 1 or max(lengths) + limit > MAX_MODEL_LEN:
            message = f"{max(lengths)} + {limit} tokens do not fit {MAX_MODEL_LEN}"
            return 400, json.dumps({"error": {"message": message, "code": 400}})
        if request.get("echo"):
            parts = [self._echoed(prompt) for prompt in prompts]
        elif request.get("logprobs") is not None:
            wanted = request.get("logprob_token_ids") or []
            parts = [self._read(prompt, wanted) for prompt in prompts]
        else:
            parts = [self._generated(prompt) for prompt in prompts]
        choices = ",".join(
            f'{{"index":{i},{part},"stop_reason":null,"token_ids":null,"prompt_logprobs":null,'
            '"prompt_token_ids":null}'
            for i, part in enumerate(parts)
        )
        self.counts["prompt_tokens_total"] += sum(lengths)
        self.counts["prefix_cache_queries_total"] += sum(lengths)
        self.counts["request_success_total"] += len(prompts)
        usage = f'{{"prompt_tokens":{sum(lengths)},"total_tokens":{sum(lengths) + 1}}}'
        return 200, (
            f'{{"id":"cmpl-0","object":"text_completion","created":0,"model":"{MODEL}",'
            f'"choices":[{choices}],"usage":{usage}}}'
        )

    def _read(self, prompt: Sequence[int], wanted: Sequence[int]) -> str:
        oracle, state = self._oracle, self._oracle.state(prompt)
        token = oracle.likeliest(state)
        tops = {token: oracle.score(state, token)} | {i: oracle.score(state, i) for i in wanted}
        listed = ",".join(f'"token_id:{i}":{score}' for i, score in tops.items())
        return (
            f'"text":" x","finish_reason":"length","logprobs":{{"text_offset":[0],'
            f'"token_logprobs":[{tops[token]}],"tokens":["token_id:{token}"],'
            f'"top_logprobs":[{{{listed}}}]}}'
        )

    def _echoed(self, prompt: Sequence[int]) -> str:
        oracle = self._oracle
        state = oracle.state(prompt[:1])
        scores, tops, tokens = ["null"], ["null"], [f'"t{prompt[0]}"']
        packed = memoryview(array.array("I", prompt)).cast("B")
        for place in range(4, len(packed) + 4, 4):
            best = oracle.likeliest(state)
            token = prompt[place // 4] if place < len(packed) else best
            score = oracle.score(state, token)
            other = f',"t{best}":{oracle.score(state, best)}' if token != best else ""
            scores.append(score)
            tokens.append(f'"t{token}"')
            tops.append(f'{{"t{token}":{score}{other}}}')
            state = zlib.crc32(packed[place : place + 4], state)
        return (
            f'"text":"","finish_reason":"length","logprobs":{{'
            f'"text_offset":[{",".join(map(str, range(0, 4 * len(scores), 4)))}],'
            f'"token_logprobs":[{",".join(scores)}],"tokens":[{",".join(tokens)}],'
            f'"top_logprobs":[{",".join(tops)}]}}'
        )

    def _generated(self, prompt: Sequence[int]) -> str:
        number = self._oracle.state(prompt) % 997
        self.counts["generation_tokens_total"] += 50
        text = json.dumps(f" That makes {number}.\n" * 6 + f"#### {number}")
        return f'"text":{text},"finish_reason":"stop","logprobs":null'

    def metrics(self) -> str:
        """Return the counters in Prometheus' text form."""
        labels = f'{{engine="0",model_name="{MODEL}"}}'
        names = (
            *("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"),
            *("num_preemptions_total", "prefix_cache_queries_total", "prefix_cache_hits_total"),
            *("prompt_tokens_total", "generation_tokens_total", "request_success_total"),
        )
        lines = [f"vllm:{name}{labels} {float(self.counts[name])}" for name in names]
        posted = '{handler="/v1/completions",method="POST",status="2xx"}'
        lines.append(f"http_requests_total{posted} {float(self.counts['http'])}")
        return "\n".join(lines) + "\n"


class Connection(asyncio.Protocol):
    """HTTP/1.1, kept alive; requests need a Content-Length if they have a body."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            size = end + 4 + int(headers.get("content-length", 0))
            if len(self._buffer) < size:
                return
            body = bytes(self._buffer[end + 4 : size])
            del self._buffer[:size]
            status, kind, answer = self._route(first.split(" ")[1].partition("?")[0], body)
            payload = answer.encode()
            head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(payload)}"
            self._transport.write(head.encode() + b"\r\n\r\n" + payload)

    def _route(self, path: str, body: bytes) -> tuple[int, str, str]:
        kind = "application/json"
        if path == "/v1/completions":
            self._answers.counts["http"] += 1
            status, answer = self._answers.complete(json.loads(body))
            return status, kind, answer
        if path == "/metrics":
            return 200, "text/plain", self._answers.metrics()
        pages = {
            "/v1/models": {"data": [{"id": MODEL, "max_model_len": MAX_MODEL_LEN}]},
            "/version": {"version": "0.0.instant"},
            "/reset_prefix_cache": {"success": True},
            "/health": {},
        }
        return (200 if path in pages else 404), kind, json.dumps(pages.get(path, {}))


async def _listen(port: int, answers: Answers) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(Connection, answers), "127.0.0.1", port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


@contextmanager
def running(*, likely: Sequence[int] = range(256)) -> Iterator[str]:
    """Run a server as a process of its own while the block lasts; yield its URL, ending in /v1."""
    command = [sys.executable, "-m", "tests.instant_server", "--likely", *map(str, likely)]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--likely", type=int, nargs="+", default=list(range(256)))
    given = parser.parse_args()
    asyncio.run(_listen(given.port, Answers(Oracle(given.likely))))


if __name__ == "__main__":
    main()
