"""Which failures heal by themselves, and what the others mean.

Failure
├── Transient   connection lost, timed out, 408, 425, 429, 5xx: asked again after a while
│   └── Throttled   429, 503: and fewer at a time
└── Refused     every other status, and answers of another shape: asking again would not help
"""

from __future__ import annotations

from http import HTTPStatus

import orjson

from infra.engines.retry_after import seconds

_HEALING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY}
_THROTTLING = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
_EXCERPT_CHARACTERS = 500

REMEDIES = {
    HTTPStatus.UNAUTHORIZED: (
        "The server does not accept the key.",
        "Set OPENAI_API_KEY to its key.",
    ),
    HTTPStatus.FORBIDDEN: ("The key may not do this.", "Use a key that may."),
    HTTPStatus.NOT_FOUND: (
        "The server has no such address, or serves no model of this name.",
        "Compare the address with the server's own, and the name with what its /v1/models lists.",
    ),
    HTTPStatus.BAD_REQUEST: (
        "The prompt does not fit the server's window, or it does not know a setting of the task.",
        "Raise serving.max_model_len, or lower num_fewshot or max_gen_toks of the task.",
    ),
}
"""Status → probable cause and remedy."""


class Failure(Exception):
    """A request failed.

    Attributes:
        status: HTTP status; None if there was no answer.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class Transient(Failure):
    """Asking again may help.

    Attributes:
        wait: Seconds the server asks us to wait; 0 if it does not say.
    """

    def __init__(self, text: str, status: int | None = None, wait: float = 0.0) -> None:
        super().__init__(text, status)
        self.wait = wait


class Throttled(Transient):
    """Asking again may help, and asking less at a time."""


class Refused(Failure):
    """Asking again would not help.

    Attributes:
        all_alike: True if every other question would be refused as well.
    """

    @property
    def all_alike(self) -> bool:
        """Whether it is about the server, not about the request."""
        return self.status in (401, 403, 404)


def of_status(status: int, answer: bytes, retry_after: str | None) -> Failure:
    """Return the failure that an HTTP status other than 200 means."""
    text = f"{status} {_phrase(status)}: {_message(answer)}"
    wait = seconds(retry_after)
    if status in _THROTTLING:
        return Throttled(text, status, wait)
    if status in _HEALING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Transient(text, status, wait)
    return Refused(text, status)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _message(answer: bytes) -> str:
    """Return what the server says, in OpenAI's shape or any other."""
    try:
        said = orjson.loads(answer)
        error = said.get("error", said)
        text = error.get("message", error) if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        text = answer.decode("utf-8", "replace")
    return str(text)[:_EXCERPT_CHARACTERS]
