"""What a served model expects next at every position of given texts.

By plain requests, like triage: exact numbers for every token matter here and speed does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import httpx
import orjson

from infra.contracts.errors import ServerUnverified
from infra.engines.connection import connect
from infra.engines.endpoint import Endpoint
from infra.probes.fidelity.positions import Positions
from infra.probes.triage.answers import Tell

_TOKENS_A_REQUEST = 2048
"""The answer takes about 1 kB a token, and the server's time to write it."""
_SECONDS = 600.0

_Listed: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Token id → log-probability: the text's own token and the likeliest ones."""


def read(
    server: Endpoint, texts: Sequence[Sequence[int]], top_k: int, origin: str, tell: Tell
) -> Positions:
    """Let a model read texts, and return what it expects at every position but the first.

    Args:
        server: Serves it.
        texts: Token ids, two or more each.
        top_k: How many likeliest tokens are kept.
        origin: Where the texts are from.
        tell: Hears how many are read.

    Raises:
        ServerUnverified: The server does not answer.
    """
    own: list[float] = []
    ids: list[list[int]] = []
    logprobs: list[list[float]] = []
    with connect(server.base_url, server.headers, seconds=_SECONDS) as client:
        done = 0
        for part in _parts(texts):
            try:
                for text, listed in zip(part, _ask(client, server, part, top_k), strict=True):
                    for token, at_position in zip(text[1:], listed[1:], strict=True):
                        own.append(_value(at_position[str(token)]))
                        best = sorted(at_position.items(), key=lambda item: -_value(item[1]))
                        ids.append([int(name) for name, _ in best[:top_k]])
                        logprobs.append([_value(value) for _, value in best[:top_k]])
            except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
                raise _unanswered(error) from None  # it may hold the request's headers
            done += len(part)
            tell(done)
    try:
        return Positions.of(texts, own, ids, logprobs, origin=origin)
    except ValueError as error:
        raise _unanswered(error) from None


def _ask(
    client: httpx.Client, server: Endpoint, part: Sequence[Sequence[int]], top_k: int
) -> list[list[_Listed]]:
    body = {
        "model": server.model, "prompt": [list(text) for text in part],
        "temperature": 0, "max_tokens": 1, "prompt_logprobs": top_k,
    }  # fmt: skip
    answer = client.post("/completions", json=body)
    answer.raise_for_status()
    choices = {choice["index"]: choice for choice in orjson.loads(answer.content)["choices"]}
    return [choices[place]["prompt_logprobs"] for place in range(len(part))]


def _value(entry: Mapping[str, Any]) -> float:
    return float(entry["logprob"])


def _parts(texts: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    part: list[Sequence[int]] = []
    for text in texts:
        if part and sum(map(len, part)) + len(text) > _TOKENS_A_REQUEST:
            yield part
            part = []
        part.append(text)
    if part:
        yield part


def _unanswered(error: Exception) -> ServerUnverified:
    status = (
        f"status {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else ""
    )
    return ServerUnverified(
        f"The server did not read the texts for fidelity ({status or type(error).__name__}).",
        remedy="Read the server's log for what went wrong there. "
        "Without fidelity.enabled it is not asked to.",
    )
