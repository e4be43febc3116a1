"""The sample's architecture in numpy, in double precision: what a model says of its next tokens.

Shares no code with any engine; transformers in float32 lies within 5e-5 of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from threadpoolctl import ThreadpoolController

Array = np.ndarray[Any, Any]


class Qwen2:
    """One model, loaded."""

    def __init__(self, folder: Path) -> None:
        self._config = json.loads((folder / "config.json").read_text())
        stored = load_file(folder / "model.safetensors")
        self._weights = {name: one.astype(np.float64) for name, one in stored.items()}
        self._threads = ThreadpoolController()
        # What continues the same tokens is asked for again and again.
        self._kept = lru_cache(maxsize=1)(self._computed)

    def logprobs(self, tokens: Sequence[int]) -> Array:
        """Return log-probabilities of what follows each of the tokens: position by token."""
        # Threads that spin while they wait for each other take many times as long beside others.
        with self._threads.limit(limits=1):
            return self._kept(tuple(tokens))

    def _computed(self, tokens: tuple[int, ...]) -> Array:
        config = self._config
        hidden = self._weights["model.embed_tokens.weight"][list(tokens)]
        for layer in range(config["num_hidden_layers"]):
            hidden = hidden + self._attention(layer, hidden)
            hidden = hidden + self._feed_forward(layer, hidden)
        hidden = self._norm("model.norm.weight", hidden)
        head = self._weights.get("lm_head.weight", self._weights["model.embed_tokens.weight"])
        logits = hidden @ head.T
        logits -= logits.max(axis=-1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))

    def continuation(self, context: Sequence[int], rest: Sequence[int]) -> tuple[float, bool]:
        """Return the log-likelihood of tokens after others, and whether they are the likeliest."""
        found = self.logprobs([*context, *rest[:-1]])[len(context) - 1 :]
        terms = [found[place, token] for place, token in enumerate(rest)]
        return float(sum(terms)), [int(row.argmax()) for row in found] == list(rest)

    def _norm(self, name: str, hidden: Array) -> Array:
        scale = np.sqrt((hidden**2).mean(axis=-1, keepdims=True) + self._config["rms_norm_eps"])
        normed: Array = hidden / scale * self._weights[name]
        return normed

    def _linear(self, name: str, hidden: Array) -> Array:
        out: Array = hidden @ self._weights[f"{name}.weight"].T
        return out + self._weights.get(f"{name}.bias", 0.0)

    def _attention(self, layer: int, hidden: Array) -> Array:
        config, place = self._config, f"model.layers.{layer}"
        heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
        size, length = config["head_dim"], len(hidden)
        hidden = self._norm(f"{place}.input_layernorm.weight", hidden)
        split = [
            self._linear(f"{place}.self_attn.{part}_proj", hidden).reshape(length, -1, size)
            for part in "qkv"
        ]
        query, key = (self._turned(one) for one in split[:2])
        key, value = (np.repeat(one, heads // groups, axis=1) for one in (key, split[2]))
        scores = np.einsum("qhd,khd->hqk", query, key) / np.sqrt(size)
        scores = np.where(np.tril(np.ones((length, length), bool)), scores, -np.inf)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", scores, value).reshape(length, -1)
        return self._linear(f"{place}.self_attn.o_proj", mixed)

    def _turned(self, heads: Array) -> Array:
        half = self._config["head_dim"] // 2
        speeds = self._config["rope_theta"] ** -(np.arange(half) / half)
        angles = (np.arange(len(heads))[:, None] * speeds)[:, None, :]
        first, second = heads[..., :half], heads[..., half:]
        cos, sin = np.cos(angles), np.sin(angles)
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

    def _feed_forward(self, layer: int, hidden: Array) -> Array:
        place = f"model.layers.{layer}"
        hidden = self._norm(f"{place}.post_attention_layernorm.weight", hidden)
        gate = self._linear(f"{place}.mlp.gate_proj", hidden)
        up = self._linear(f"{place}.mlp.up_proj", hidden)
        return self._linear(f"{place}.mlp.down_proj", gate / (1 + np.exp(-gate)) * up)
