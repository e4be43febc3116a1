"""Ask vLLM what the evaluation will ask, before the evaluation relies on it."""

from __future__ import annotations

import math

import httpx

from infra.engines.answering import ask, check_chat, unverified

_PROMPT = "Question: What is 1 + 1? Answer:"


def verify(client: httpx.Client, served_name: str, chat: bool) -> str:
    """Check that prompts are scored and a chat is answered; return the engine's version.

    Args:
        client: Reaches the server and carries its key.
        served_name: The model to ask.
        chat: Whether the model has a chat template.

    Raises:
        ServerUnverified: An answer is missing or not what the evaluation needs.
    """
    version = ask(client, "GET", "/version").get("version")
    if not isinstance(version, str):
        raise unverified("It does not tell its version", version)
    _check_scores(client, served_name)
    if chat:
        check_chat(client, served_name)
    return version


def verify_vectors(client: httpx.Client, served_name: str, chat: bool) -> str:
    """Check that a text becomes a vector; return the engine's version.

    Args:
        client: Reaches the server and carries its key.
        served_name: The model to ask.
        chat: Nothing: no text comes of it.

    Raises:
        ServerUnverified: An answer is missing, or not what the evaluation needs.
    """
    version = ask(client, "GET", "/version").get("version")
    if not isinstance(version, str):
        raise unverified("It does not tell its version", version)
    answer = ask(client, "POST", "/v1/embeddings", {"model": served_name, "input": [_PROMPT]})
    try:
        vector = answer["data"][0]["embedding"]
        sound = len(vector) > 1 and all(math.isfinite(number) for number in vector)
    except (LookupError, TypeError):
        sound = False
    if not sound:
        raise unverified("A text became no vector", answer)
    return version


def _check_scores(client: httpx.Client, served_name: str) -> None:
    # lm-eval's `local-completions` reads log-likelihoods off the echoed prompt.
    answer = ask(
        client, "POST", "/v1/completions",
        {"model": served_name, "prompt": _PROMPT, "max_tokens": 1, "temperature": 0,
         "echo": True, "logprobs": 1},
    )  # fmt: skip
    try:
        scored = answer["choices"][0]["logprobs"]
        tokens, scores = scored["tokens"], scored["token_logprobs"][1:]  # nothing before the first
    except (LookupError, TypeError):
        raise unverified("A completion came without log-probabilities", answer) from None
    if len(tokens) < 3 or len(scores) != len(tokens) - 1:
        raise unverified("A prompt was not echoed token by token", scored)
    if not all(isinstance(score, float) and math.isfinite(score) for score in scores):
        raise unverified("A completion's log-probabilities are not finite numbers", scores)
