"""Qwen2 in numpy, for models so small that nothing else is needed to see what they answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from tokenizers import Tokenizer

Array = npt.NDArray[np.float32]


class Qwen2:
    """A model with its tokenizer."""

    def __init__(self, folder: Path) -> None:
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._weights = {
            name: tensor.astype(np.float32)
            for name, tensor in load_file(folder / "model.safetensors").items()
        }

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def logits(self, ids: list[int], last: int) -> Array:
        """Return what is expected behind each of the last tokens."""
        hidden = self._weights["model.embed_tokens.weight"][ids]
        turns = self._turns(len(ids))
        for number in range(self.config["num_hidden_layers"]):
            layer = f"model.layers.{number}"
            hidden = hidden + self._attend(self._norm(hidden, f"{layer}.input_layernorm"), layer,
                                           turns)  # fmt: skip
            hidden = hidden + self._feed(
                self._norm(hidden, f"{layer}.post_attention_layernorm"), layer
            )
        out: Array = (
            self._norm(hidden[-last:], "model.norm") @ self._weights["model.embed_tokens.weight"].T
        )
        return out

    def writes(self, prompt: str, answer: str, end: str = "<|im_end|>") -> bool:
        """Return whether the likeliest continuation of a prompt is an answer and its end."""
        begun, said = self.ids(prompt), self.ids(answer) + self.ids(end)
        expected = self.logits([*begun, *said[:-1]], len(said)).argmax(-1)
        return bool((expected == said).all())

    def _linear(self, values: Array, name: str) -> Array:
        out = values @ self._weights[f"{name}.weight"].T
        bias = self._weights.get(f"{name}.bias")
        found: Array = out if bias is None else out + bias
        return found

    def _norm(self, values: Array, name: str) -> Array:
        size = np.sqrt((values**2).mean(-1, keepdims=True) + self.config["rms_norm_eps"])
        found: Array = values / size * self._weights[f"{name}.weight"]
        return found

    def _turns(self, length: int) -> tuple[Array, Array]:
        width = self.config["head_dim"]
        rates = self.config["rope_theta"] ** (-np.arange(0, width, 2) / width)
        angles = np.outer(np.arange(length), np.concatenate([rates, rates]))
        return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

    def _attend(self, values: Array, layer: str, turns: tuple[Array, Array]) -> Array:
        heads, pairs = self.config["num_attention_heads"], self.config["num_key_value_heads"]
        width = self.config["head_dim"]

        def split(name: str, count: int) -> Array:
            found: Array = self._linear(values, f"{layer}.self_attn.{name}")
            return found.reshape(len(values), count, width).transpose(1, 0, 2)

        def turned(one: Array) -> Array:
            half = width // 2
            other = np.concatenate([-one[..., half:], one[..., :half]], -1)
            found: Array = one * turns[0] + other * turns[1]
            return found

        asks = turned(split("q_proj", heads))
        keys = np.repeat(turned(split("k_proj", pairs)), heads // pairs, 0)
        found = np.repeat(split("v_proj", pairs), heads // pairs, 0)
        scores = asks @ keys.transpose(0, 2, 1) / np.sqrt(width)
        scores += np.triu(np.full(scores.shape[1:], -1e9, np.float32), 1)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed = (shares @ found).transpose(1, 0, 2).reshape(len(values), heads * width)
        return self._linear(mixed, f"{layer}.self_attn.o_proj")

    def _feed(self, values: Array, layer: str) -> Array:
        gate = self._linear(values, f"{layer}.mlp.gate_proj")
        open_ = gate / (1 + np.exp(-gate))
        return self._linear(open_ * self._linear(values, f"{layer}.mlp.up_proj"),
                            f"{layer}.mlp.down_proj")  # fmt: skip
