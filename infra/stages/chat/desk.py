"""What the page asks us, over HTTP on loopback: to keep a vote, what votes show, who is alive."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pydantic import ValidationError

from infra.contracts.errors import AssayError
from infra.stages.chat.votes import Ballot, Preference

_LARGEST = 16 * 2**20
"""Bytes of a vote: two answers, and the conversation before them."""


@dataclass
class Desk:
    """One open page's counterpart."""

    vote: Callable[[Ballot], Preference]
    """Keeps a vote and returns what all of them show."""

    preference: Callable[[], Preference]
    key: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    """Bearer token of every request."""

    ended: dict[str, str] = field(default_factory=dict)
    """Arm → why its engine answers no more."""

    heard: float = field(default_factory=time.monotonic)
    """When the page asked for the last time, which it does as long as somebody has it open."""

    def answer(self, method: str, path: str, body: bytes) -> tuple[HTTPStatus, str]:
        """Return status and JSON of the answer to a request."""
        self.heard = time.monotonic()
        try:
            if (method, path) == ("POST", "/votes"):
                return HTTPStatus.CREATED, self.vote(
                    Ballot.model_validate_json(body)
                ).model_dump_json()
            if (method, path) == ("GET", "/preference"):
                return HTTPStatus.OK, self.preference().model_dump_json()
        except (AssayError, ValidationError) as error:
            return HTTPStatus.CONFLICT, json.dumps({"error": str(error)})
        if (method, path) == ("GET", "/ended"):
            return HTTPStatus.OK, json.dumps(self.ended)
        return HTTPStatus.NOT_FOUND, json.dumps({"error": f"There is no {path}."})


@contextmanager
def opened(desk: Desk) -> Iterator[Mapping[str, str]]:
    """Answer the page while the block runs; give its address and its key."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            given = self.headers.get("Authorization", "")
            length = int(self.headers.get("Content-Length") or 0)
            if not secrets.compare_digest(given.encode(), f"Bearer {desk.key}".encode()):
                status, text = HTTPStatus.UNAUTHORIZED, "{}"
            elif length > _LARGEST:
                status, text = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "{}"
            else:
                status, text = desk.answer(self.command, self.path, self.rfile.read(length))
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer  # noqa: N815 -- so it finds them

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="chat-desk", daemon=True)
        thread.start()
        try:
            yield {"url": f"http://127.0.0.1:{server.server_port}", "key": desk.key}
        finally:
            server.shutdown()
            thread.join()
