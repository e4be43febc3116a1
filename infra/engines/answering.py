"""Ask a server of ours what the evaluation will ask, before the evaluation relies on it."""

from __future__ import annotations

from typing import Any

import httpx

from infra.contracts.errors import ServerUnverified

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


def check_chat(client: httpx.Client, served_name: str) -> None:
    """Check that a chat is answered.

    Raises:
        ServerUnverified: It is not.
    """
    messages = [{"role": "user", "content": "What is 1 + 1?"}]
    answer = ask(
        client, "POST", "/v1/chat/completions",
        {"model": served_name, "messages": messages, "max_tokens": 8, "temperature": 0},
    )  # fmt: skip
    try:
        choice = answer["choices"][0]
        answered = choice["message"]["role"] == "assistant" and choice["finish_reason"]
    except (LookupError, TypeError):
        answered = None
    if answered not in ("stop", "length"):
        raise unverified("A chat was not answered", answer)


def ask(client: httpx.Client, method: str, path: str, body: Any = None) -> dict[str, Any]:
    """Return what a server answers, which has to be a JSON object.

    Raises:
        ServerUnverified: It is not, or there is no answer.
    """
    try:
        response = client.request(method, path, json=body)
        response.raise_for_status()
        answer = response.json()
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        raise unverified(f"{path} answered {status}", error.response.text) from None
    except httpx.TransportError as error:
        raise unverified(f"{path} did not answer", type(error).__name__) from None
    except ValueError:
        raise unverified(f"{path} did not answer in JSON", response.text) from None
    if not isinstance(answer, dict):
        raise unverified(f"{path} did not answer with an object", answer)
    return answer


def unverified(what: str, answer: object) -> ServerUnverified:
    """Return the error for a server whose answer is not what the evaluation needs."""
    shown = str(answer)[:_EXCERPT_CHARACTERS]
    return ServerUnverified(
        f"The server is up, but not fit to be evaluated. {what}: {shown}",
        cause="The checkpoint is broken, or this engine version speaks another protocol.",
        remedy="Read the server's log; ask the model for a completion by hand; use the engine "
        "version that Assay locks.",
    )
