"""The truth behind both clients: what the server itself says of a prompt, asked with plain HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import httpx

Tops = Mapping[int, float]
"""Token → log-probability, of the likeliest ones and the one that was taken."""


class Engine:
    """Asks a completions server for tokens and margins; nothing of it is part of either client."""

    def __init__(self, base_url: str, model: str, headers: Mapping[str, str]) -> None:
        self._url = f"{base_url}/completions"
        self._model = model
        self._headers = dict(headers)

    def generated(self, prompt: Sequence[int], **settings: Any) -> tuple[list[int], list[Tops]]:
        """Return the generated tokens, and at each the likeliest two."""
        choice = self._complete(prompt, logprobs=2, **settings)
        tokens = [_token(name) for name in choice["logprobs"]["tokens"]]
        return tokens, [_by_token(top) for top in choice["logprobs"]["top_logprobs"]]

    def margins(self, prompt: Sequence[int], start: int) -> list[float]:
        """Return for each token from `start` on how much likelier it is than any other.

        Negative: how much less likely than the likeliest.
        """
        choice = self._complete(prompt, logprobs=2, echo=True, max_tokens=1, temperature=0)
        tops = choice["logprobs"]["top_logprobs"][start : len(prompt)]
        return [
            _margin(_by_token(top), token) for top, token in zip(tops, prompt[start:], strict=True)
        ]

    def _complete(self, prompt: Sequence[int], **settings: Any) -> dict[str, Any]:
        body = {"model": self._model, "prompt": [list(prompt)], "return_tokens_as_token_ids": True}
        answer = httpx.post(
            self._url, json=body | settings, headers=self._headers, timeout=120, trust_env=False
        )
        answer.raise_for_status()
        return answer.json()["choices"][0]  # type: ignore[no-any-return]


def greedy_is_tied(margins: Sequence[float], tie: float) -> bool:
    """Tell whether a hair decides if every token is the likeliest: the smallest margin is one."""
    return bool(margins) and abs(min(margins)) <= tie


def common(one: str, other: str) -> int:
    """Return how many letters two texts have in common at their beginning."""
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return sum(1 for _ in pairs)


def _margin(tops: Tops, token: int) -> float:
    return tops[token] - max(value for other, value in tops.items() if other != token)


def _by_token(tops: Mapping[str, float]) -> dict[int, float]:
    return {_token(name): value for name, value in tops.items()}


def _token(name: str) -> int:
    return int(name.removeprefix("token_id:"))
