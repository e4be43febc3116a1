"""Answers of an OpenAI-compatible server, piece by piece."""

import json

import httpx

_CONNECT_SECONDS = 10.0
_MOST = 16_000
"""Characters of an error that are read."""


class NoAnswer(Exception):
    """The server did not answer; the text says why, and `refused` whether it said so itself."""

    def __init__(self, text, *, refused):
        super().__init__(text)
        self.refused = refused


async def stream(arm, key, messages, settings, variables):
    """Yield (text, why it ended or none) as it is written.

    Args:
        arm: `url`, `model`, and whether it can `chat`.
        key: Bearer token.
        messages: The conversation, the new message last.
        settings: `temperature` and `max_tokens`.
        variables: Further ones of the chat template.
    """
    body = {"model": arm["model"], "stream": True, **settings}
    if arm["chat"]:
        path, body["messages"] = "chat/completions", messages
        if variables:
            body["chat_template_kwargs"] = variables
    else:  # a model that knows no turns goes on from a text
        path, body["prompt"] = "completions", messages[-1]["content"]
    timeout = httpx.Timeout(None, connect=_CONNECT_SECONDS)
    headers = {"Authorization": f"Bearer {key}"}
    try:
        async with (
            httpx.AsyncClient(timeout=timeout, headers=headers, trust_env=False) as client,
            client.stream("POST", f"{arm['url']}/{path}", json=body) as response,
        ):
            if response.is_error:
                said = (await response.aread()).decode(errors="replace")
                raise NoAnswer(_message(said), refused=True)
            async for line in response.aiter_lines():
                data = line.removeprefix("data:").strip()
                if not line.startswith("data:") or not data:
                    continue
                if data == "[DONE]":
                    return
                piece = json.loads(data)
                if "error" in piece:
                    raise NoAnswer(_message(data), refused=True)
                for choice in piece.get("choices", ()):
                    yield _text(choice), choice.get("finish_reason")
    except httpx.HTTPError as error:
        raise NoAnswer(type(error).__name__, refused=False) from error
    # Every whole answer ends with [DONE].
    raise NoAnswer("the answer broke off", refused=False)


def _text(choice):
    delta = choice.get("delta")
    return (delta.get("content") if delta else choice.get("text")) or ""


def _message(text):
    """Return what a server says of an error, in whichever shape."""
    try:
        found = json.loads(text)
    except ValueError:
        return text[:_MOST].strip() or "no reason is given"
    error = found.get("error", found) if isinstance(found, dict) else found
    return str(error.get("message", error) if isinstance(error, dict) else error)[:_MOST]
