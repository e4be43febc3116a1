"""Weights in shards with an index, for tests of what belongs to a model."""

from __future__ import annotations

import json
from pathlib import Path

from tests.stub_hub import safetensors

INDEX = "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def write_shards(folder: Path, tensors: dict[str, int]) -> None:
    """Write each tensor of so many bytes into a shard of its own, and the index."""
    placed = {}
    for number, (name, size) in enumerate(tensors.items(), 1):
        placed[name] = f"model-{number:05d}-of-{len(tensors):05d}.safetensors"
        (folder / placed[name]).write_bytes(safetensors({name: size}))
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": placed}))


def split(folder: Path) -> None:
    """Make of a model's one file two shards with an index."""
    from safetensors.numpy import load_file, save_file

    whole = folder / "model.safetensors"
    tensors = load_file(whole)
    names = sorted(tensors)
    placed = {name: SHARDS[number % 2] for number, name in enumerate(names)}
    for shard in SHARDS:
        part = {name: tensors[name] for name in names if placed[name] == shard}
        save_file(part, folder / shard, metadata={"format": "pt"})
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    whole.unlink()
