"""Ask a server what the evaluation will ask, before the evaluation relies on it."""

from __future__ import annotations

import math
from typing import Any

import httpx

from infra.contracts.errors import ServerUnverified

_PROMPT = "Question: What is 1 + 1? Answer:"
_EXCERPT_CHARACTERS = 400
_ANSWER_SECONDS = 2.0
"""A server that is up answers `/health` at once; one that does not is not ready."""


def list_models(client: httpx.Client) -> list[dict[str, Any]] | None:
    """Return the models that whoever listens shows us, None if nobody answers yet."""
    try:
        if client.get("/health", timeout=_ANSWER_SECONDS).status_code != httpx.codes.OK:
            return None
        answer = client.get("/v1/models", timeout=_ANSWER_SECONDS)
    except httpx.TransportError:
        return None
    if answer.is_server_error:
        return None
    try:
        return [model for model in answer.json()["data"] if isinstance(model, dict)]
    except (ValueError, LookupError, TypeError):
        return []  # it refuses our key, or is no such server


def verify(client: httpx.Client, served_name: str, *, chat: bool) -> str:
    """Check that prompts are scored and a chat is answered; return the engine's version.

    Args:
        client: Reaches the server and carries its key.
        served_name: The model to ask.
        chat: Whether the model has a chat template.

    Raises:
        ServerUnverified: An answer is missing or not what the evaluation needs.
    """
    version = _ask(client, "GET", "/version").get("version")
    if not isinstance(version, str):
        raise _unverified("It does not tell its version", version)
    _check_scores(client, served_name)
    if chat:
        _check_chat(client, served_name)
    return version


def _check_scores(client: httpx.Client, served_name: str) -> None:
    # lm-eval's `local-completions` reads log-likelihoods off the echoed prompt.
    answer = _ask(
        client, "POST", "/v1/completions",
        {"model": served_name, "prompt": _PROMPT, "max_tokens": 1, "temperature": 0,
         "echo": True, "logprobs": 1},
    )  # fmt: skip
    try:
        scored = answer["choices"][0]["logprobs"]
        tokens, scores = scored["tokens"], scored["token_logprobs"][1:]  # nothing before the first
    except (LookupError, TypeError):
        raise _unverified("A completion came without log-probabilities", answer) from None
    if len(tokens) < 3 or len(scores) != len(tokens) - 1:
        raise _unverified("A prompt was not echoed token by token", scored)
    if not all(isinstance(score, float) and math.isfinite(score) for score in scores):
        raise _unverified("A completion's log-probabilities are not finite numbers", scores)


def _check_chat(client: httpx.Client, served_name: str) -> None:
    messages = [{"role": "user", "content": "What is 1 + 1?"}]
    answer = _ask(
        client, "POST", "/v1/chat/completions",
        {"model": served_name, "messages": messages, "max_tokens": 8, "temperature": 0},
    )  # fmt: skip
    try:
        choice = answer["choices"][0]
        answered = choice["message"]["role"] == "assistant" and choice["finish_reason"]
    except (LookupError, TypeError):
        answered = None
    if answered not in ("stop", "length"):
        raise _unverified("A chat was not answered", answer)


def _ask(client: httpx.Client, method: str, path: str, body: Any = None) -> dict[str, Any]:
    try:
        response = client.request(method, path, json=body)
        response.raise_for_status()
        answer = response.json()
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        raise _unverified(f"{path} answered {status}", error.response.text) from None
    except httpx.TransportError as error:
        raise _unverified(f"{path} did not answer", type(error).__name__) from None
    except ValueError:
        raise _unverified(f"{path} did not answer in JSON", response.text) from None
    if not isinstance(answer, dict):
        raise _unverified(f"{path} did not answer with an object", answer)
    return answer


def _unverified(what: str, answer: object) -> ServerUnverified:
    shown = str(answer)[:_EXCERPT_CHARACTERS]
    return ServerUnverified(
        f"The server is up, but not fit to be evaluated. {what}: {shown}",
        cause="The checkpoint is broken, or this engine version speaks another protocol.",
        remedy="Read the server's log; ask the model for a completion by hand; use the engine "
        "version that Assay locks.",
    )
