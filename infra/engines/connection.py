"""A connection to one server."""

from __future__ import annotations

from collections.abc import Mapping

import httpx


def connect(
    root: str, headers: Mapping[str, str], *, seconds: float, proxied: bool = False
) -> httpx.Client:
    """Return a client for paths below an address. Close it, or use it in a `with`.

    Args:
        root: The address that paths are below, with or without `/v1`.
        headers: What requests carry.
        seconds: How long to wait for an answer.
        proxied: Whether the proxies count that the environment names.
    """
    return httpx.Client(
        base_url=root,
        headers=headers,
        timeout=seconds,
        trust_env=proxied,
        # Where nothing is encrypted there is nothing to verify, and loading the certificates takes
        # ten times as long as a question.
        verify=root.startswith("https:"),
    )
