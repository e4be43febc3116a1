"""What is asked of a server beside the exam, and must never cost a run its scores."""

from __future__ import annotations

import time

import httpx

from infra.vllm_server import LiveServer

_LAST_WORDS_SECONDS = 15.0
"""A server whose engine died answers with errors for a while before it ends itself."""
_HEALTH_SECONDS = 10.0
_LOOK_SECONDS = 0.25


def blame(server: LiveServer) -> None:
    """Raise if it was the server that failed; give one that says so the time to end.

    Raises:
        ServerError: It ended, or computes nothing any more.
    """
    deadline = time.monotonic() + _LAST_WORDS_SECONDS
    server.raise_if_dead()
    while not _healthy(server) and time.monotonic() < deadline:
        server.raise_if_dead()
        time.sleep(_LOOK_SECONDS)
    server.raise_if_dead()


def _healthy(server: LiveServer) -> bool:
    root = server.base_url.removesuffix("/v1")
    try:
        return httpx.get(f"{root}/health", timeout=_HEALTH_SECONDS, trust_env=False).is_success
    except httpx.HTTPError:
        return False
