"""Vectors over `/v1/embeddings` on loopback, as clients of LlamaIndex and LangChain ask for them.

Whoever embeds is behind it: vectors that are kept cost nothing, a server is started when one is
missing, and the program that asks gets no key of anybody's.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from infra.contracts.errors import AssayError

MODEL = "embedding"
_PATH = "/v1/embeddings"


class Embeds(Protocol):
    """Turns texts into vectors; see `infra.engines.embeddings.Embedder`."""

    identity: str
    """All that decides a vector besides the text."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vector of each text, of length 1."""


@dataclass
class Loopback:
    """A server of vectors, for one program."""

    base_url: str
    key: str = field(repr=False)
    failed: list[AssayError] = field(default_factory=list)
    """Why texts could not be embedded; whoever asked only knows that."""


@contextmanager
def on_loopback(embedder: Embeds) -> Iterator[Loopback]:
    """Answer requests while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    there = Loopback(f"http://127.0.0.1:{server.server_port}/v1", secrets.token_hex())
    server.embedder, server.loopback = embedder, there  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield there
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer with vectors, in the form that was asked for."""
        embedder: Embeds = self.server.embedder  # type: ignore[attr-defined]
        there: Loopback = self.server.loopback  # type: ignore[attr-defined]
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        given = self.headers.get("Authorization", "")
        if self.path != _PATH or not hmac.compare_digest(given, f"Bearer {there.key}"):
            self._answer(HTTPStatus.NOT_FOUND, {"error": {"message": "nothing is here"}})
            return
        body = json.loads(content)
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        try:
            vectors = embedder.embed(texts)
        except AssayError as error:
            there.failed.append(error)
            # A code at which no client tries again: the embedder has done so.
            self._answer(HTTPStatus.BAD_REQUEST, {"error": {"message": error.fact}})
            return
        data = [
            {"object": "embedding", "index": number,
             "embedding": _written(vector, body.get("encoding_format"))}
            for number, vector in enumerate(vectors)
        ]  # fmt: skip
        used = {"prompt_tokens": 0, "total_tokens": 0}
        self._answer(HTTPStatus.OK, {"object": "list", "model": MODEL, "data": data, "usage": used})

    def _answer(self, status: HTTPStatus, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing: what was asked for is in the program's own log."""


def _written(vector: NDArray[np.float32], form: str | None) -> str | list[float]:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(one) for one in vector]
