"""How much memory a model will take: pure estimates, from its config.json or else from its name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from infra.contracts.specs import ServingSpec

GIB = 2**30

_ENGINE_BYTES = 2 * GIB
"""What an engine takes besides weights and cache: code, CUDA context, graphs, activations."""

_WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2}

_SHAPES = (
    # billions, layers, hidden, intermediate, key-value heads x head size
    (0.5, 24, 896, 4864, 128),
    (1.5, 28, 1536, 8960, 256),
    (3.0, 36, 2048, 11008, 256),
    (7.0, 28, 3584, 18944, 512),
    (14.0, 48, 5120, 13824, 1024),
    (32.0, 64, 5120, 27648, 1024),
    (72.0, 80, 8192, 29568, 1024),
)
"""Shapes of Qwen2.5, which stand for others of their size."""
_VOCABULARY = 152_064


@dataclass(frozen=True)
class Shape:
    """What of a model decides its memory."""

    parameters: int
    stored_width: int
    """Bytes of one parameter in the model's own files."""
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    cache_numbers: int
    """Numbers that the key-value cache holds for one token."""
    heads: int | None
    window: int | None
    """Tokens the model was made for."""
    guessed: bool
    """True if all of it comes from the model's name."""


def from_config(config: Mapping[str, Any], weight_bytes: int) -> Shape | None:
    """Return the shape that a config.json tells, none if it does not tell it.

    Args:
        config: The model's config.json.
        weight_bytes: Size of its weight files.
    """
    config = config.get("text_config") or config
    try:
        heads, hidden = config["num_attention_heads"], config["hidden_size"]
        layers = config["num_hidden_layers"]
        head_size = config.get("head_dim") or hidden // heads
        width = _WIDTHS.get(str(config.get("dtype") or config.get("torch_dtype")), 2)
        return Shape(
            parameters=weight_bytes // width,
            stored_width=width,
            layers=layers,
            hidden=hidden,
            intermediate=config.get("intermediate_size") or 4 * hidden,
            vocabulary=config.get("vocab_size") or _VOCABULARY,
            # Key and value in every layer, as the engine's own cache holds them.
            cache_numbers=2 * layers * (config.get("num_key_value_heads") or heads) * head_size,
            heads=heads,
            window=config.get("max_position_embeddings"),
            guessed=False,
        )
    except (KeyError, TypeError, ZeroDivisionError):
        return None


def from_name(model_id: str) -> Shape | None:
    """Guess the shape from a name such as `Qwen2.5-7B-Instruct`; none if it holds no size."""
    match = re.search(r"(?i)(?<![\d.])(\d+(?:\.\d+)?)b(?![a-z])", model_id)
    if not match or not (billions := float(match.group(1))):
        return None
    nearest = min(_SHAPES, key=lambda shape: abs(math.log(shape[0] / billions)))
    _, layers, hidden, intermediate, cached = nearest
    return Shape(
        parameters=int(billions * 1e9),
        stored_width=2,
        layers=layers,
        hidden=hidden,
        intermediate=intermediate,
        vocabulary=_VOCABULARY,
        cache_numbers=2 * layers * cached,
        heads=None,
        window=None,
        guessed=True,
    )


def with_weights(shape: Shape, weight_bytes: int) -> Shape:
    """Return a guessed shape with the size that the hub tells."""
    return replace(shape, parameters=weight_bytes // shape.stored_width)


@dataclass(frozen=True)
class Serving:
    """What one device must hold to serve the baseline; the candidate needs less."""

    weights: int
    cache: int
    """Bytes of key-value cache that one request of a whole window takes."""
    besides: int
    window: int

    @property
    def total(self) -> int:
        """Bytes."""
        return self.weights + self.cache + self.besides

    def longest_window(self, room: int) -> int:
        """Return how many tokens of one request fit into so many bytes; 0 if none do."""
        left = room - self.weights - self.besides
        return max(0, left * self.window // self.cache) if self.cache else self.window


def serving(shape: Shape, spec: ServingSpec) -> Serving:
    """Return what each device must hold, in the type that is served."""
    # The engine loads float32 files in 16 bits by default.
    width = _WIDTHS.get(spec.dtype, min(shape.stored_width, 2))
    window = spec.max_model_len or shape.window or 32_768
    parts = spec.tensor_parallel_size
    return Serving(
        weights=shape.parameters * width // parts,
        cache=shape.cache_numbers * width * window // parts,
        besides=_ENGINE_BYTES,
        window=window,
    )


def main_memory() -> tuple[int, int]:
    """Return bytes of main memory that this process may have at all, and those that are free."""
    memory = psutil.virtual_memory()
    total = memory.total
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of a container, version 2 and 1
        limit = Path("/sys/fs/cgroup") / name
        text = limit.read_text().strip() if limit.is_file() else ""
        if text.isdigit():
            total = min(total, int(text))
    return total, min(total, memory.available)
