"""Whoever turns texts into vectors: a server of ours, or an endpoint that somebody else runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Protocol

import httpx

from infra.contracts.errors import EndpointError, RequestFailed
from infra.contracts.progress import Progress
from infra.contracts.specs import EndpointSpec
from infra.engines.connection import connect
from infra.engines.endpoint import ServedEndpoint
from infra.engines.remote.asking import Asker
from infra.engines.remote.budget import Budget

_PATH = "/embeddings"
_ANSWER_SECONDS = 600.0
_EXCERPT = 300
_TOO_LONG = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, 422)
"""How servers refuse a text that does not fit their window."""


class Refused(Exception):
    """The server refuses these texts; mostly one of them is too long for it."""


class Source(Protocol):
    """Answers with vectors."""

    def ask(self, texts: Sequence[str]) -> Any:
        """Return what it answers to texts, as JSON.

        Raises:
            Refused: It does not take these texts.
            AssayError: It cannot be asked.
        """


class Served:
    """A server of ours."""

    def __init__(self, server: ServedEndpoint, client: httpx.Client) -> None:
        self._server = server
        self._client = client

    def ask(self, texts: Sequence[str]) -> Any:
        """Return what it answers to texts.

        Raises:
            Refused: It does not take these texts.
            ServerError: It has ended, or hangs.
            RequestFailed: It lives, and answers nothing.
        """
        body = {"model": self._server.model, "input": list(texts), "encoding_format": "float"}
        try:
            answered = self._client.post(_PATH, json=body)
            if answered.status_code in _TOO_LONG:
                raise Refused(answered.text[:_EXCERPT])
            answered.raise_for_status()
            return answered.json()
        except (httpx.HTTPError, ValueError) as error:
            self._server.raise_if_failing()
            status = None
            if isinstance(error, httpx.HTTPStatusError):
                status = error.response.status_code
            raise RequestFailed(
                f"The embedding server did not answer: {type(error).__name__}"
                f"{f' {status}' if status else ''}.",
                remedy="Read its log in the run's folder for what went wrong there.",
                status=status,
            ) from None  # it may hold the headers of the request


@contextmanager
def served(server: ServedEndpoint) -> Iterator[Served]:
    """Ask a server of ours while the block runs."""
    with connect(server.base_url, server.headers, seconds=_ANSWER_SECONDS) as client:
        yield Served(server, client)


class Elsewhere:
    """An endpoint that somebody else runs."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def ask(self, texts: Sequence[str]) -> Any:
        """Return what it answers to texts.

        Raises:
            Refused: It does not take these texts.
            EndpointError: It does not answer, or refuses altogether.
        """
        body = {"input": list(texts), "encoding_format": "float"}
        try:
            return self._asker.post(_PATH, body, holds="data")
        except EndpointError as error:
            if error.status in _TOO_LONG:
                raise Refused(error.fact) from None
            raise


@contextmanager
def elsewhere(spec: EndpointSpec, progress: Progress) -> Iterator[Elsewhere]:
    """Ask an endpoint while the block runs.

    Raises:
        EndpointError: There is no key, although one is wanted.
    """
    asker = Asker(spec, Budget(spec), progress.say)
    try:
        yield Elsewhere(asker)
    finally:
        asker.close()
