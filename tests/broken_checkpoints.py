"""Spoils an AWQ checkpoint in the ways that a quantizer, a copy or a converter spoils one."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SAMPLE = Path(__file__).parent.parent / "infra" / "sample" / "model"
Tensors = dict[str, Any]


def spoil(checkpoint: Path, folder: Path, how: str) -> Path:
    """Write a copy of a checkpoint, of one safetensors file, that is broken in a named way."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(checkpoint, folder)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    SPOILERS[how](tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    return folder


def _zero_scales(tensors: Tensors) -> None:
    for name, tensor in tensors.items():
        if name.endswith(".scales"):
            tensor[:] = 0


def _nan_in_a_norm(tensors: Tensors) -> None:
    tensors["model.layers.3.input_layernorm.weight"][7] = np.nan


def _nan_in_scales(tensors: Tensors) -> None:
    tensors["model.layers.2.mlp.up_proj.scales"][0, 5:9] = np.nan


def _swap_layers(tensors: Tensors) -> None:
    one, other = "model.layers.1.", "model.layers.4."
    for name in [name for name in tensors if name.startswith(one)]:
        twin = other + name.removeprefix(one)
        tensors[name], tensors[twin] = tensors[twin], tensors[name]


def _huge_scale(tensors: Tensors) -> None:
    tensors["model.layers.0.mlp.gate_proj.scales"][1, 3] = 60_000


def _hundredfold_scales(tensors: Tensors) -> None:
    tensors["model.layers.5.self_attn.v_proj.scales"] *= np.float16(100)


def _lose_a_layer(tensors: Tensors) -> None:
    for part in ("qweight", "qzeros", "scales"):
        del tensors[f"model.layers.2.self_attn.k_proj.{part}"]


def _lose_zeros(tensors: Tensors) -> None:
    del tensors["model.layers.2.self_attn.k_proj.qzeros"]


def _keep_sixteen_bits(tensors: Tensors) -> None:
    from safetensors.numpy import load_file

    original = load_file(SAMPLE / "model.safetensors")
    for layer in range(6):
        for part in ("qweight", "qzeros", "scales"):
            del tensors[f"model.layers.{layer}.mlp.down_proj.{part}"]
        name = f"model.layers.{layer}.mlp.down_proj.weight"
        tensors[name] = original[name].astype(np.float16)


def _other_groups(tensors: Tensors) -> None:
    for name in list(tensors):
        if name.endswith((".scales", ".qzeros")):
            tensors[name] = np.repeat(tensors[name], 2, axis=0)


def _zero_words(tensors: Tensors) -> None:
    for part in ("qweight", "qzeros"):
        tensors[f"model.layers.0.mlp.up_proj.{part}"][:] = 0


SPOILERS: dict[str, Callable[[Tensors], None]] = {
    "scales zeroed": _zero_scales,
    "NaN in a norm": _nan_in_a_norm,
    "NaN in scales": _nan_in_scales,
    "layers swapped": _swap_layers,
    "one huge scale": _huge_scale,
    "scales a hundredfold": _hundredfold_scales,
    "a layer lost": _lose_a_layer,
    "zeros of a layer lost": _lose_zeros,
    "layers left in 16 bits": _keep_sixteen_bits,
    "other groups": _other_groups,
    "levels zeroed": _zero_words,
}
"""Every way to spoil a checkpoint of the sample model."""


def write_garbage(path: Path, conversations: int) -> Path:
    """Write conversations of random characters."""
    chance = random.Random(0)

    def noise(length: int) -> str:
        return "".join(chr(chance.choice(range(32, 127))) for _ in range(length))

    with path.open("w", encoding="utf-8") as stream:
        for _ in range(conversations):
            turns = [("user", noise(60)), ("assistant", noise(100))]
            messages = [{"role": role, "content": text} for role, text in turns]
            stream.write(json.dumps({"messages": messages}) + "\n")
    return path
