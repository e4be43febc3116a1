"""A model of hashes that scores forced tokens as llama.cpp does, or lies about them in one way.

Faults: `ignores-bias`, `biased`, `no-logprobs`, `no-tops`, `nan`, `other-token`, `shifted`,
`drops-last`, `drops-prompt`, `above-one`, `by-chance`, `mixed-up`, `adds-bos`, `by-text`,
`lists-its-own`, `biased-list`.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

VOCABULARY = 64
EOS = 0


class TokenModel:
    """Answers requests to `/v1/completions` for prompts of token ids."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.requests: list[Mapping[str, Any]] = []
        self._calls = itertools.count()

    def answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the server says."""
        self.requests.append(body)
        prompts = body["prompt"]
        found = [self._choice(prompt, body) for prompt in prompts]
        if self.fault == "mixed-up":
            found.reverse()
        choices = [{"index": place, **choice} for place, choice in enumerate(found)]
        read = len(prompts[0]) + (self.fault == "adds-bos")
        return {"choices": choices, "usage": {"prompt_tokens": read}}

    def logprobs(self, prompt: Sequence[int]) -> list[float]:
        """Return what follows a prompt, as this server sees it: token → log-probability."""
        prompt = list(prompt)
        if self.fault == "drops-last":
            prompt = prompt[:-1]
        if self.fault == "drops-prompt":
            prompt = []
        salt = str(next(self._calls)) if self.fault == "by-chance" else ""
        digest = hashlib.sha512(f"{prompt}{salt}".encode()).digest()
        logits = [byte / 32 for byte in digest]
        total = math.log(sum(map(math.exp, logits)))
        raised = 2.0 if self.fault == "above-one" else 0.0
        return [logit - total + raised for logit in logits]

    def _choice(self, prompt: list[int], body: Mapping[str, Any]) -> dict[str, Any]:
        entries, text = [], ""
        for _ in range(body["max_tokens"]):
            values = self.logprobs(prompt)
            token = max(range(VOCABULARY), key=values.__getitem__)
            forced = [int(name) for name, bias in body.get("logit_bias", {}).items() if bias > 100]
            if forced and self.fault != "ignores-bias":
                [token] = forced
            shown = self.logprobs(prompt[:-1]) if self.fault == "shifted" else values
            value = shown[(token + 1) % VOCABULARY if self.fault == "other-token" else token]
            if forced and self.fault == "biased":
                value = 0.0
            tops = body["logprobs"]
            if forced and self.fault == "biased-list":
                shown = [one - 9990 for one in shown]
            elif self.fault == "lists-its-own":
                shown, tops = [value if n == token else -1e9 for n in range(VOCABULARY)], 1
            entries.append(self._entry(token, value, shown, tops))
            text += f"<{token}>"
            prompt = [*prompt, token]
        if self.fault == "no-logprobs":
            return {"text": text, "logprobs": None, "finish_reason": "length"}
        if self.fault == "by-text":
            columns = {
                "tokens": [entry["token"] for entry in entries],
                "token_logprobs": [entry["logprob"] for entry in entries],
                "top_logprobs": [{"<1>": -0.1} for _ in entries],
            }
            return {"text": text, "logprobs": columns, "finish_reason": "length"}
        return {"text": text, "logprobs": {"content": entries}, "finish_reason": "length"}

    def _entry(self, token: int, value: float, shown: list[float], tops: int) -> dict[str, Any]:
        likeliest = sorted(range(VOCABULARY), key=shown.__getitem__, reverse=True)[:tops]
        top = [{"id": one, "token": f"<{one}>", "logprob": shown[one]} for one in likeliest]
        return {
            "id": token,
            "token": f"<{token}>",
            "logprob": math.nan if self.fault == "nan" else value,
            "top_logprobs": [] if self.fault == "no-tops" else top,
        }
