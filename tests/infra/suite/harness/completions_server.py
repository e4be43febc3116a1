"""A completions server on loopback: deterministic, real HTTP, fails on demand."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import SecretStr

from infra.contracts.capability import Capability
from infra.contracts.errors import ServerDied
from infra.engines.load import Load, ask
from infra.engines.vllm.metrics import NAMES
from infra.machine.energy import Meter


@dataclass(frozen=True)
class Status:
    """Answer with this instead."""

    code: int
    message: str = "no room in the cache"
    headers: Mapping[str, str] = field(default_factory=dict)


class Drop:
    """Read the request and close the connection."""


class Stall:
    """Read the request and say nothing until the client goes away."""


Trouble = Status | Drop | Stall | None


@dataclass
class Completions:
    """Answers like a model whose every probability is a hash of what comes before."""

    reply: Callable[[list[int]], str] = lambda prompt: f"That makes {sum(prompt) % 97}.\n#### 7"
    """Prompt (token ids) → generated text."""

    talk: Callable[[dict[str, Any]], dict[str, Any]] = lambda body: {"content": "Nothing to call."}
    """Body of a request for a chat → the message that answers it."""

    reads: bool = True
    """Know `logprob_token_ids`; if not, it is ignored, as older engines do."""

    fail_after: int | None = None
    """Answer 500 from this request on."""

    die_after: int | None = None
    """Close the door at this request, as a crashed engine would."""

    hang_after: int | None = None
    """Die at this request, but leave the connections open and silent."""

    trouble: Callable[[int, dict[str, Any]], Trouble] = lambda number, body: None
    """Number of the request (from 1) and its body → what goes wrong with it."""

    change: Callable[[dict[str, Any]], Any] = lambda answer: answer
    """Applied to each answer before it is written."""

    metrics: Callable[[], str | None] = lambda: None
    """What `/metrics` says; None: there is no such address."""

    about: Mapping[str, Any] = field(default_factory=dict)
    """Path → what a GET answers there, as JSON: `/version`, `/v1/models`."""

    finish_reason: str = "stop"
    window: int = 4096
    model: str = "tiny"
    api_key: SecretStr = field(default_factory=lambda: SecretStr("the-key-of-this-run"))
    base_url: str = ""
    dead: bool = False
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    gets: list[str] = field(default_factory=list)
    in_hand: int = 0
    """Prompts that are being answered."""

    meter: Meter | None = None
    most_in_hand: int = 0

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key.get_secret_value()}"}

    @property
    def prompts(self) -> list[list[int]]:
        """All prompts that were received, in the order of requests."""
        return [prompt for body in self.requests for prompt in body.get("prompt", ())]

    @property
    def can(self) -> frozenset[Capability]:
        return frozenset(Capability)

    def load(self) -> Load | None:
        return ask(self.base_url.removesuffix("/v1"), self.headers, [NAMES])

    def raise_if_dead(self) -> None:
        if self.dead:
            raise ServerDied("The engine ended with exit code -9.", cause="Out of memory.")

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        if "messages" in body:
            message = {"role": "assistant", **self.talk(body)}
            ended = "tool_calls" if message.get("tool_calls") else self.finish_reason
            return {"choices": [{"index": 0, "message": message, "finish_reason": ended}]}
        prompts = body["prompt"]
        return {"choices": [self._choice(i, p, body) for i, p in enumerate(prompts)]}

    def _choice(self, index: int, prompt: list[int], body: dict[str, Any]) -> dict[str, Any]:
        if wanted := body.get("logprob_token_ids") if self.reads else None:
            return {
                "index": index,
                "text": "?",
                "finish_reason": "length",
                "logprobs": {
                    "token_logprobs": [LIKELIEST],
                    "top_logprobs": [{f"token_id:{t}": logprob(prompt, t) for t in wanted}],
                },
            }
        if not body.get("echo"):
            return {
                "index": index,
                "text": self.reply(prompt),
                "finish_reason": self.finish_reason,
            }
        scores = [None, *(logprob(prompt[:i], prompt[i]) for i in range(1, len(prompt))), LIKELIEST]
        return {
            "index": index,
            "text": "",
            "logprobs": {
                "token_logprobs": scores,
                "top_logprobs": [s and {"this": s, "likeliest": LIKELIEST} for s in scores],
            },
        }


LIKELIEST = -0.05
"""Log-probability of the likeliest token, whatever comes before."""


def logprob(prefix: list[int], token: int) -> float:
    """Return the log-probability of a token: one of 8 is the likeliest, none is likelier."""
    first, second, *_ = hashlib.sha256(json.dumps([*prefix[-40:], token]).encode()).digest()
    return LIKELIEST if first % 8 == 0 else -second / 16 - 0.1


@contextmanager
def serving(completions: Completions) -> Iterator[Completions]:
    lock, ended = threading.Lock(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                completions.requests.append(body)
                completions.keys.add(self.headers["Authorization"])
                number = len(completions.requests)
            if completions.die_after is not None and number >= completions.die_after:
                completions.dead = True
                self.close_connection = True
                self.connection.close()
                return
            if completions.hang_after is not None and number >= completions.hang_after:
                completions.dead = True
                ended.wait()
                return
            trouble = completions.trouble(number, body)
            if completions.fail_after is not None and number >= completions.fail_after:
                trouble = Status(500)
            match trouble:
                case Drop():
                    self.close_connection = True
                case Stall():
                    self.rfile.read(1)  # nothing comes until the client closes
                    self.close_connection = True
                case Status(code, message, headers):
                    self._write(code, json.dumps({"error": message}), headers)
                case None:
                    with self._counted(len(body.get("prompt", "1"))):
                        answer = completions.change(completions.complete(body))
                    self._write(200, json.dumps(answer))

        def do_GET(self) -> None:
            with lock:
                completions.gets.append(self.path)
            metrics = completions.metrics() if self.path == "/metrics" else None
            if metrics is not None:
                self._write(200, metrics)
            elif self.path in completions.about:
                self._write(200, json.dumps(completions.about[self.path]))
            else:
                self._write(404, '{"detail": "Not Found"}')

        def _write(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
            payload = text.encode()
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        @contextmanager
        def _counted(self, prompts: int) -> Iterator[None]:
            with lock:
                completions.in_hand += prompts
                most = max(completions.most_in_hand, completions.in_hand)
                completions.most_in_hand = most
            try:
                yield
            finally:
                with lock:
                    completions.in_hand -= prompts

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 1024  # connections come many at a time

        def handle_error(self, *args: Any) -> None:
            pass  # the client went away, or the door was closed on purpose

    server = Server(("127.0.0.1", 0), Handler)
    completions.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=[0.02])
    thread.start()
    try:
        yield completions
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
