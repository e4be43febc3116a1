"""A completions server on loopback that counts, by content, how often it answered what.

Its probabilities and texts are hashes of the prompt, so that equal questions get equal answers,
whatever they travel with and whether they are read or echoed. It may also stand before another
server, hand on what it is asked, and count all the same.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

import httpx

Body: TypeAlias = Mapping[str, Any]
Item: TypeAlias = tuple[str, tuple[int, ...]]
"""What is asked for, and the prompt. Which tokens a read wants is not part of it: a request asks
for those of all its prompts."""

MODEL = "stub"
MAX_MODEL_LEN = 2048
_BEST = -0.05


def answer(body: Body, *, pause: float) -> bytes:
    """Return what a model of hashes answers, after so many seconds for each prompt."""
    time.sleep(pause * len(body["prompt"]))
    choices = [{"index": i, **_choice(p, body)} for i, p in enumerate(body["prompt"])]
    return json.dumps({"choices": choices}).encode()


def _choice(prompt: Sequence[int], body: Body) -> dict[str, Any]:
    if wanted := body.get("logprob_token_ids"):
        tops = {f"token_id:{token}": _logprob(prompt, token) for token in wanted}
        return {"text": "?", "logprobs": {"token_logprobs": [_BEST], "top_logprobs": [tops]}}
    if body.get("echo"):
        values = [_logprob(prompt[:i], prompt[i]) for i in range(1, len(prompt))]
        tops = [None, *({"this": value, "best": _BEST} for value in values), {"best": _BEST}]
        logprobs = {"token_logprobs": [None, *values, _BEST], "top_logprobs": tops}
        return {"text": "", "logprobs": logprobs}
    number = int.from_bytes(_hash(prompt)[:4])
    return {"text": f" That makes {number}.", "finish_reason": "stop"}


def _logprob(prompt: Sequence[int], token: int) -> float:
    likely, unlikely, *_ = _hash([*prompt[-50:], token])
    return _BEST if likely < 64 else -0.25 - unlikely / 16


def _hash(tokens: Sequence[int]) -> bytes:
    return hashlib.sha256(json.dumps(list(tokens)).encode()).digest()


def forward(body: Body, *, url: str, headers: Mapping[str, str]) -> bytes:
    """Hand a request on, and return what comes back."""
    given = {name: headers[name] for name in ("Authorization",) if name in headers}
    answered = httpx.post(f"{url}/completions", json=body, headers=given, timeout=300)
    answered.raise_for_status()
    return answered.content


class Stub:
    """Counts what it answers."""

    def __init__(self, respond: Callable[[Body], bytes]) -> None:
        self._respond = respond
        self._changed = threading.Condition()
        self._heard = 0
        self._withheld = False
        self.answered: Counter[Item] = Counter()
        """How often each was answered, whether or not the answer was still listened to."""

        self.withhold: int | None = None
        """The request that would bring the distinct items answered to this number is never
        answered, so that nobody comes to an end."""

        self.base_url = ""

    def complete(self, body: Body) -> bytes:
        """Answer a request and count what it asks."""
        said = self._respond(body)
        sent = items(body)
        with self._changed:
            if self.withhold is not None and len({*self.answered, *sent}) >= self.withhold:
                self._withheld = True
                self._changed.notify_all()
                raise ConnectionAbortedError
            self.answered.update(sent)
            self._heard += bool(sent)
            self._changed.notify_all()
        return said

    def wait_for(self, distinct: int, given_up: Callable[[], bool]) -> None:
        """Return after the first answer from now on with which so many items were answered.

        Or when an answer is withheld, or when it is to be given up.
        """
        with self._changed:
            before, self._withheld = self._heard, False
            while not (self._withheld or given_up()):
                if self._heard > before and len(self.answered) >= distinct:
                    return
                self._changed.wait(0.05)


def items(body: Body) -> list[Item]:
    """Return what a request asks. One token alone is the client finding out what we can do."""
    reads = body.get("logprob_token_ids")
    kind = "read" if reads else "echo" if body.get("echo") else f"text {body.get('stop')}"
    return [(kind, tuple(prompt)) for prompt in body["prompt"] if len(prompt) > 1]


@contextmanager
def serving(
    respond: Callable[[Body], bytes] | None = None, *, name: str = MODEL, pause: float = 0.002
) -> Iterator[Stub]:
    """Serve on a free port while the block runs.

    Args:
        respond: Answers requests; by default a model of hashes.
        name: Of the model, in the list of models.
        pause: Seconds that model takes for each prompt.
    """
    stub = Stub(respond or partial(answer, pause=pause))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._say(200, stub.complete(body))

        def do_GET(self) -> None:
            model = {"id": name, "root": name, "max_model_len": MAX_MODEL_LEN}
            pages = {"/version": {"version": "0"}, "/v1/models": {"data": [model]}}
            found = pages.get(self.path)
            self._say(200 if found else 404, json.dumps(found).encode())

        def _say(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: Any) -> None:
            pass  # whoever asked was killed

    server = Server(("127.0.0.1", 0), Handler)
    stub.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
