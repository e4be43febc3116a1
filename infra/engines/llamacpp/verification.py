"""Ask llama.cpp's server what the evaluation will ask, before the evaluation relies on it."""

from __future__ import annotations

import httpx

from infra.engines.answering import ask, check_chat, unverified
from infra.engines.proof import Unproved, proof, prove

_TEXT = "Question: What is 1 + 1? Answer:"
_TOKENS = 12
_FEWEST = 3


def verify(client: httpx.Client, served_name: str, chat: bool) -> str:
    """Check that forced tokens are scored and a chat is answered; return the build.

    Args:
        client: Reaches the server and carries its key.
        served_name: The model to ask.
        chat: Whether the model has a chat template.

    Raises:
        ServerUnverified: An answer is missing or not what the evaluation needs.
    """
    build = ask(client, "GET", "/props").get("build_info")
    if not isinstance(build, str):
        raise unverified("It does not tell its version", build)
    tokens = ask(client, "POST", "/tokenize", {"content": _TEXT}).get("tokens")
    if not isinstance(tokens, list) or len(tokens) < _FEWEST:
        raise unverified("It does not split a text into tokens", tokens)
    try:
        prove(
            proof(served_name, tokens[:_TOKENS]),
            lambda body: ask(client, "POST", "/v1/completions", body),
        )
    except Unproved as error:
        raise unverified(f"Its scores cannot be relied on: {error}", error.answer) from None
    if chat:
        check_chat(client, served_name)
    return build
